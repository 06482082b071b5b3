// SPDX-License-Identifier: GPL-2.0
/* agent-exec DIR COMMAND...: run COMMAND in the nested guest whose agent's ports are the sockets in DIR; its output and
 * exit status are ours. The first port that nobody else uses is taken, so several can run at the same time.
 */
#include <dirent.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"

enum { EXIT_NO_AGENT = 125 };

/* The lock lives as long as this process. */
static bool lock_port(const char *socket_path)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s.lock", socket_path) >= (int)sizeof(path))
		return false;
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		err(EXIT_NO_AGENT, "%s", path);
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return true;
	close(fd);
	return false;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		errx(EXIT_NO_AGENT, "%s: too long for a socket's name", path);
	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(EXIT_NO_AGENT, "%s: is the guest running?", path);
	return fd;
}

static bool is_socket(const struct dirent *entry)
{
	return entry->d_type == DT_SOCK && !strncmp(entry->d_name, "agent", 5);
}

static int connect_to_free(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *list = opendir(dir);
	int fd = -1;

	if (!list)
		err(EXIT_NO_AGENT, "%s: no such guest", dir);
	while (fd < 0 && (entry = readdir(list))) {
		if (!is_socket(entry))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) < (int)sizeof(path) &&
		    lock_port(path))
			fd = connect_to(path);
	}
	closedir(list);
	if (fd < 0)
		errx(EXIT_NO_AGENT, "%s: every port of the agent is busy", dir);
	return fd;
}

static void read_full(int fd, void *to, size_t length)
{
	char *at = to;
	ssize_t got;

	for (; length; at += got, length -= got) {
		got = read(fd, at, length);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got <= 0)
			errx(EXIT_NO_AGENT, "the guest went away");
	}
}

static void write_full(int fd, const void *from, size_t length)
{
	const char *at = from;
	ssize_t done;

	for (; length; at += done, length -= done) {
		done = write(fd, at, length);
		if (done < 0 && errno == EINTR)
			done = 0;
		else if (done <= 0)
			err(EXIT_NO_AGENT, "write");
	}
}

static void send_request(int fd, uint64_t nonce, char **argv)
{
	static char message[sizeof(struct agent_request) + AGENT_ARGS_MAX];
	struct agent_request request = { .nonce = nonce };
	size_t at = sizeof(request);

	for (; *argv; argv++) {
		size_t length = strlen(*argv) + 1;

		if (at + length > sizeof(message))
			errx(EXIT_NO_AGENT, "command longer than %d bytes", AGENT_ARGS_MAX);
		memcpy(message + at, *argv, length);
		at += length;
	}
	request.length = htobe32(at - sizeof(request));
	memcpy(message, &request, sizeof(request));
	write_full(fd, message, at);
}

/* Skip what an earlier client left: slide over the stream until a frame that begins our answer. */
static void find_answer(int fd, uint64_t nonce)
{
	struct agent_frame frame;

	read_full(fd, &frame, sizeof(frame));
	while (frame.nonce != nonce || frame.type != htobe32(AGENT_BEGIN)) {
		memmove(&frame, (char *)&frame + 1, sizeof(frame) - 1);
		read_full(fd, (char *)&frame + sizeof(frame) - 1, 1);
	}
}

static int relay(int fd, uint64_t nonce)
{
	unsigned char data[AGENT_CHUNK];
	struct agent_frame frame;
	uint32_t length;

	for (;;) {
		read_full(fd, &frame, sizeof(frame));
		length = be32toh(frame.length);
		if (frame.nonce != nonce || length > sizeof(data))
			errx(EXIT_NO_AGENT, "the agent answers something else");
		read_full(fd, data, length);
		switch (be32toh(frame.type)) {
		case AGENT_STDOUT:
			write_full(STDOUT_FILENO, data, length);
			break;
		case AGENT_STDERR:
			write_full(STDERR_FILENO, data, length);
			break;
		case AGENT_EXIT:
			return length ? data[0] : EXIT_NO_AGENT;
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t nonce;
	int fd;

	if (argc < 3)
		errx(2, "usage: agent-exec DIR COMMAND...");
	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		err(EXIT_NO_AGENT, "getrandom");
	fd = connect_to_free(argv[1]);
	send_request(fd, nonce, argv + 2);
	find_answer(fd, nonce);
	return relay(fd, nonce);
}
