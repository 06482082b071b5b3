// SPDX-License-Identifier: GPL-2.0
/* OVSDB is JSON-RPC (RFC 7047): one transaction that selects from four tables. */
#include "ovsdb.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"

enum { TIMEOUT_S = 2, CHUNK = 16384 };

#define SELECT(table, columns) \
	"{\"op\":\"select\",\"table\":\"" table "\",\"where\":[],\"columns\":[" columns "]}"

static const char question[] =
	"{\"method\":\"transact\",\"id\":1,\"params\":[\"Open_vSwitch\"," /* clang-format off */
	SELECT("Open_vSwitch", "\"ovs_version\",\"other_config\"") ","
	SELECT("Bridge", "\"name\",\"datapath_type\",\"ports\"") ","
	SELECT("Port", "\"_uuid\",\"name\",\"interfaces\"") ","
	SELECT("Interface", "\"_uuid\",\"name\",\"type\"") "]}"; /* clang-format on */

/* --- the answer --- */

enum { SETTINGS, BRIDGES, PORTS, INTERFACES, TABLES };

static struct json_object *rows(struct json_object *answer, size_t table)
{
	struct json_object *result = NULL, *list = NULL;

	json_object_object_get_ex(answer, "result", &result);
	if (json_object_is_type(result, json_type_array))
		json_object_object_get_ex(json_object_array_get_idx(result, table), "rows", &list);
	return json_object_is_type(list, json_type_array) ? list : NULL;
}

static struct json_object *row(struct json_object *list, size_t index)
{
	return json_object_array_get_idx(list, index);
}

/* "" for what is no string: an optional one that is not there is ["set",[]]. */
static const char *text_of(struct json_object *value)
{
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

static const char *string_of(struct json_object *row, const char *column)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(row, column, &value);
	return text_of(value);
}

static bool is_pair(struct json_object *value)
{
	return json_object_is_type(value, json_type_array) && json_object_array_length(value) == 2;
}

/* ["uuid","…"]; "" for anything else. */
static const char *uuid_of(struct json_object *pair)
{
	if (!is_pair(pair) || strcmp(text_of(json_object_array_get_idx(pair, 0)), "uuid"))
		return "";
	return text_of(json_object_array_get_idx(pair, 1));
}

/* Whether a column, one UUID or ["set",[UUID, …]], has this one. */
static bool refers_to(struct json_object *row, const char *column, const char *uuid)
{
	struct json_object *value = NULL, *set;

	json_object_object_get_ex(row, column, &value);
	if (!is_pair(value))
		return false;
	set = json_object_array_get_idx(value, 1);
	if (!json_object_is_type(set, json_type_array))
		return !strcmp(uuid_of(value), uuid);
	for (size_t i = 0; i < json_object_array_length(set); i++)
		if (!strcmp(uuid_of(json_object_array_get_idx(set, i)), uuid))
			return true;
	return false;
}

static const char *own_uuid(struct json_object *row)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(row, "_uuid", &value);
	return uuid_of(value);
}

/* The row whose column refers to this one, or NULL. */
static struct json_object *owner(struct json_object *list, const char *column,
				 struct json_object *of)
{
	for (size_t i = 0; of && i < json_object_array_length(list); i++)
		if (refers_to(row(list, i), column, own_uuid(of)))
			return row(list, i);
	return NULL;
}

/* other_config is ["map",[["key","value"], …]]. */
static bool is_set(struct json_object *row, const char *column, const char *key)
{
	struct json_object *map = NULL, *pairs, *pair;

	json_object_object_get_ex(row, column, &map);
	pairs = is_pair(map) ? json_object_array_get_idx(map, 1) : NULL;
	if (!json_object_is_type(pairs, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(pairs); i++) {
		pair = json_object_array_get_idx(pairs, i);
		if (is_pair(pair) && !strcmp(text_of(json_object_array_get_idx(pair, 0)), key))
			return !strcmp(text_of(json_object_array_get_idx(pair, 1)), "true");
	}
	return false;
}

static void copy_name(char to[OVS_NAME], const char *from)
{
	snprintf(to, OVS_NAME, "%s", from);
}

static void describe(struct ovs_interface *interface, struct json_object *of,
		     struct json_object *tables[TABLES])
{
	struct json_object *port = owner(tables[PORTS], "interfaces", of);
	struct json_object *bridge = owner(tables[BRIDGES], "ports", port);

	copy_name(interface->name, string_of(of, "name"));
	copy_name(interface->type, string_of(of, "type"));
	copy_name(interface->port, string_of(port, "name"));
	copy_name(interface->bridge, string_of(bridge, "name"));
	interface->in_user_space = !strcmp(string_of(bridge, "datapath_type"), "netdev");
}

static bool take(struct ovs *ovs, struct json_object *answer)
{
	struct json_object *tables[TABLES], *settings;

	for (int i = 0; i < TABLES; i++) {
		tables[i] = rows(answer, i);
		if (!tables[i])
			return false;
	}
	settings = row(tables[SETTINGS], 0);
	copy_name(ovs->version, string_of(settings, "ovs_version"));
	ovs->offloads = is_set(settings, "other_config", "hw-offload");
	ovs->count = json_object_array_length(tables[INTERFACES]);
	ovs->interfaces = calloc(ovs->count + 1, sizeof(*ovs->interfaces));
	if (!ovs->interfaces)
		return false;
	for (size_t i = 0; i < ovs->count; i++)
		describe(&ovs->interfaces[i], row(tables[INTERFACES], i), tables);
	return true;
}

/* --- the question --- */

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = TIMEOUT_S };
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) &&
	    !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) &&
	    !connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
	return -error;
}

/* Reads one JSON value. NULL with errno set. */
static struct json_object *receive(int fd)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *object = NULL;
	char chunk[CHUNK];
	ssize_t length;

	while (tokener && !object) {
		length = recv(fd, chunk, sizeof(chunk), 0);
		if (length <= 0) {
			errno = length ? errno : ECONNRESET;
			break;
		}
		object = json_tokener_parse_ex(tokener, chunk, (int)length);
		if (!object && json_tokener_get_error(tokener) != json_tokener_continue) {
			errno = EPROTO;
			break;
		}
	}
	json_tokener_free(tokener);
	return object;
}

static int ask(struct ovs *ovs, int fd)
{
	struct json_object *object;

	if (send(fd, question, strlen(question), MSG_NOSIGNAL) != (ssize_t)strlen(question))
		return -errno;
	object = receive(fd);
	if (!object)
		return -errno;
	ovs->known = take(ovs, object);
	json_object_put(object);
	return ovs->known ? 0 : -EPROTO;
}

void ovs__ask(struct ovs *ovs, const char *path)
{
	const char *directory = getenv("OVS_RUNDIR"); /* as its own tools have it */
	char usual[128];
	int fd, error;

	memset(ovs, 0, sizeof(*ovs));
	snprintf(usual, sizeof(usual), "%s/db.sock", directory ? directory : "/run/openvswitch");
	path = path ? path : usual;
	fd = connect_to(path);
	error = fd < 0 ? fd : ask(ovs, fd);
	if (fd >= 0)
		close(fd);
	if (error)
		snprintf(ovs->error, sizeof(ovs->error), "%s: %s", path, strerror(-error));
}

void ovs__free(struct ovs *ovs)
{
	free(ovs->interfaces);
}

const struct ovs_interface *ovs__interface(const struct ovs *ovs, const char *name)
{
	for (size_t i = 0; i < ovs->count; i++)
		if (!strcmp(ovs->interfaces[i].name, name))
			return &ovs->interfaces[i];
	return NULL;
}
