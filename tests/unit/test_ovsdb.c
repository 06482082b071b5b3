// SPDX-License-Identifier: GPL-2.0
/* What an Open vSwitch database answers, by a server of this test's own. */
#include "unit.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "ovsdb.h"

/* eth0 and vnet0 in br0; a bond of two in br1, whose datapath is in user space. */
static const char answer[] =
	"{\"id\":1,\"error\":null,\"result\":["
	"{\"rows\":[{\"ovs_version\":\"3.1.0\",\"other_config\":[\"map\","
	"[[\"max-idle\",\"10\"],[\"hw-offload\",\"true\"]]]}]},"
	"{\"rows\":["
	"{\"name\":\"br0\",\"datapath_type\":\"\",\"ports\":[\"set\",[[\"uuid\",\"p0\"],[\"uuid\",\"p1\"]]]},"
	"{\"name\":\"br1\",\"datapath_type\":\"netdev\",\"ports\":[\"uuid\",\"p2\"]}]},"
	"{\"rows\":["
	"{\"_uuid\":[\"uuid\",\"p0\"],\"name\":\"eth0\",\"interfaces\":[\"uuid\",\"i0\"]},"
	"{\"_uuid\":[\"uuid\",\"p1\"],\"name\":\"vnet0\",\"interfaces\":[\"uuid\",\"i1\"]},"
	"{\"_uuid\":[\"uuid\",\"p2\"],\"name\":\"bond\",\"interfaces\":"
	"[\"set\",[[\"uuid\",\"i2\"],[\"uuid\",\"i3\"]]]}]},"
	"{\"rows\":["
	"{\"_uuid\":[\"uuid\",\"i0\"],\"name\":\"eth0\",\"type\":\"\"},"
	"{\"_uuid\":[\"uuid\",\"i1\"],\"name\":\"vnet0\",\"type\":\"\"},"
	"{\"_uuid\":[\"uuid\",\"i2\"],\"name\":\"dpdk0\",\"type\":\"dpdk\"},"
	"{\"_uuid\":[\"uuid\",\"i3\"],\"name\":\"dpdk1\",\"type\":\"dpdk\"}]}]}";

struct server {
	char directory[32], path[64];
	pid_t pid;
};

/* Answers one question, byte by byte at first, to whoever listens so long; NULL: closes instead. */
static void serve(int fd, const char *text)
{
	char question[1024];
	int client = accept(fd, NULL, NULL);
	size_t length = text ? strlen(text) : 0;

	if (client < 0 || recv(client, question, sizeof(question), 0) <= 0)
		_exit(1);
	for (size_t i = 0; i < length; i += i < 100 ? 1 : length)
		if (send(client, text + i, i < 100 ? 1 : length - i, MSG_NOSIGNAL) < 0)
			break;
	_exit(0);
}

static struct server start_server(const char *text)
{
	struct server server = { .directory = "/tmp/vmlat-ovsdb-XXXXXX" };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_non_null(mkdtemp(server.directory));
	snprintf(server.path, sizeof(server.path), "%s/db.sock", server.directory);
	memcpy(address.sun_path, server.path, sizeof(server.path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	server.pid = fork();
	assert_true(server.pid >= 0);
	if (server.pid == 0)
		serve(fd, text);
	close(fd);
	return server;
}

static void end_server(const struct server *server)
{
	int status;

	assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
	assert_int_equal(status, 0);
	unlink(server->path);
	rmdir(server->directory);
}

static void assert_interface(const struct ovs *ovs, const char *name, const char *type,
			     const char *port, const char *bridge, bool in_user_space)
{
	const struct ovs_interface *interface = ovs__interface(ovs, name);

	assert_non_null(interface);
	assert_string_equal(interface->type, type);
	assert_string_equal(interface->port, port);
	assert_string_equal(interface->bridge, bridge);
	assert_int_equal(interface->in_user_space, in_user_space);
}

static void ports_bridges_and_settings_are_known(void **state)
{
	struct server server = start_server(answer);
	struct ovs ovs;

	(void)state;
	ovs__ask(&ovs, server.path);
	assert_true(ovs.known);
	assert_string_equal(ovs.version, "3.1.0");
	assert_true(ovs.offloads);
	assert_int_equal(ovs.count, 4);
	assert_interface(&ovs, "eth0", "", "eth0", "br0", false);
	assert_interface(&ovs, "vnet0", "", "vnet0", "br0", false);
	assert_interface(&ovs, "dpdk1", "dpdk", "bond", "br1", true);
	assert_null(ovs__interface(&ovs, "vnet1"));
	ovs__free(&ovs);
	end_server(&server);
}

static void an_empty_database_is_an_answer(void **state)
{
	struct server server = start_server("{\"id\":1,\"result\":[{\"rows\":[]},{\"rows\":[]},"
					    "{\"rows\":[]},{\"rows\":[]}]}");
	struct ovs ovs;

	(void)state;
	ovs__ask(&ovs, server.path);
	assert_true(ovs.known);
	assert_false(ovs.offloads);
	assert_int_equal(ovs.count, 0);
	ovs__free(&ovs);
	end_server(&server);
}

static void assert_unknown(const char *text, const char *why)
{
	struct server server = start_server(text);
	char words[128];
	struct ovs ovs;

	ovs__ask(&ovs, server.path);
	assert_false(ovs.known);
	snprintf(words, sizeof(words), "%s: %s", server.path, why);
	assert_string_equal(ovs.error, words);
	ovs__free(&ovs);
	end_server(&server);
}

static void what_is_no_answer_is_told(void **state)
{
	(void)state;
	assert_unknown(NULL, "Connection reset by peer");
	assert_unknown("{\"id\":1,\"result\":", "Connection reset by peer");
	assert_unknown("no JSON", "Protocol error");
	assert_unknown("[]", "Protocol error");
	assert_unknown("{\"id\":1,\"result\":null,\"error\":\"canceled\"}", "Protocol error");
	assert_unknown("{\"result\":[{\"error\":\"constraint violation\"},1,null,[]]}",
		       "Protocol error");
}

static void odd_values_are_not_taken(void **state)
{
	struct server server = start_server(
		"{\"result\":[{\"rows\":[{\"ovs_version\":[\"set\",[]],\"other_config\":"
		"[\"map\",[[\"hw-offload\",1],[],null,[\"a\"]]]}]},{\"rows\":[{\"name\":3,"
		"\"ports\":[\"set\",[null,[\"uuid\"],[null,null]]]}]},{\"rows\":[null,"
		"{\"interfaces\":{}}]},{\"rows\":[{\"name\":\"x\",\"_uuid\":[1,2]}]}]}");
	struct ovs ovs;

	(void)state;
	ovs__ask(&ovs, server.path);
	assert_true(ovs.known);
	assert_string_equal(ovs.version, "");
	assert_false(ovs.offloads);
	assert_interface(&ovs, "x", "", "", "", false);
	ovs__free(&ovs);
	end_server(&server);
}

static void nobody_who_answers_is_told(void **state)
{
	struct ovs ovs;

	(void)state;
	ovs__ask(&ovs, "/nonexistent/db.sock");
	assert_false(ovs.known);
	assert_string_equal(ovs.error, "/nonexistent/db.sock: No such file or directory");
	assert_null(ovs__interface(&ovs, "eth0"));
	ovs__free(&ovs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_bridges_and_settings_are_known),
		cmocka_unit_test(an_empty_database_is_an_answer),
		cmocka_unit_test(what_is_no_answer_is_told),
		cmocka_unit_test(odd_values_are_not_taken),
		cmocka_unit_test(nobody_who_answers_is_told),
	};

	return cmocka_run_group_tests_name("ovsdb", tests, NULL, NULL);
}
