// SPDX-License-Identifier: GPL-2.0
/* agent-serve PORT...: runs in the nested guest; on each virtio-serial port, one command at a time for agent-exec. */
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

struct command {
	pid_t pid;
	int out;
	int err;
};

static void wait_for_sigio(void)
{
	sigset_t set;
	int signal;

	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigwait(&set, &signal);
}

/* 0, or -EPIPE when the host's side went away. A port without a host reads as empty at once, so wait for its signal
 * instead of asking again and again.
 */
static int read_full(int port, void *to, size_t length, bool wait_for_host)
{
	char *at = to;
	ssize_t got;

	while (length) {
		got = read(port, at, length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 && !(wait_for_host && at == (char *)to))
			return -EPIPE;
		if (got <= 0) {
			wait_for_sigio();
			continue;
		}
		at += got;
		length -= got;
	}
	return 0;
}

static int write_full(int port, const void *from, size_t length)
{
	const char *at = from;
	ssize_t done;

	while (length) {
		done = write(port, at, length);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -EPIPE;
		at += done;
		length -= done;
	}
	return 0;
}

static int send_frame(int port, uint64_t nonce, enum agent_type type, const void *data,
		      size_t length)
{
	struct {
		struct agent_frame head;
		char data[AGENT_CHUNK];
	} frame = { { nonce, htobe32(type), htobe32(length) }, {} };

	if (length)
		memcpy(frame.data, data, length);
	return write_full(port, &frame, sizeof(frame.head) + length);
}

/* One argument is a shell command line, several are a program and its arguments: as boot has it. */
static void run(char *args, size_t length)
{
	char **argv = calloc(length + 3, sizeof(*argv));
	size_t argc = 0;

	if (!argv)
		_exit(126);
	for (char *arg = args; arg < args + length; arg += strlen(arg) + 1)
		argv[argc++] = arg;
	if (argc == 1) {
		argv[2] = argv[0];
		argv[0] = "sh";
		argv[1] = "-c";
	}
	execvp(argv[0], argv);
	warn("%s", argv[0]);
	_exit(127);
}

static void become_command(const int out[2], const int error[2], char *args, size_t length)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(error[1], STDERR_FILENO);
	run(args, length);
}

static int start(struct command *command, char *args, size_t length)
{
	int out[2], error[2];

	if (pipe2(out, O_CLOEXEC) || pipe2(error, O_CLOEXEC))
		err(1, "pipe");
	command->pid = fork();
	if (command->pid < 0)
		err(1, "fork");
	if (!command->pid)
		become_command(out, error, args, length);
	close(out[1]);
	close(error[1]);
	command->out = out[0];
	command->err = error[0];
	return 0;
}

/* 0: forwarded or nothing yet; *fd becomes -1 at its end. */
static int forward(int port, uint64_t nonce, enum agent_type type, struct pollfd *from)
{
	char data[AGENT_CHUNK];
	ssize_t got;

	if (from->fd < 0 || !from->revents)
		return 0;
	got = read(from->fd, data, sizeof(data));
	if (got > 0)
		return send_frame(port, nonce, type, data, got);
	from->fd = -1;
	return 0;
}

/* Until both pipes end; -EPIPE when the host's side went away. */
static int forward_all(int port, uint64_t nonce, const struct command *command)
{
	struct pollfd fds[] = {
		{ .fd = command->out, .events = POLLIN },
		{ .fd = command->err, .events = POLLIN },
		{ .fd = port },
	};
	int ret = 0;

	while (!ret && (fds[0].fd >= 0 || fds[1].fd >= 0)) {
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[2].revents & POLLHUP)
			return -EPIPE;
		ret = forward(port, nonce, AGENT_STDOUT, &fds[0]);
		if (!ret)
			ret = forward(port, nonce, AGENT_STDERR, &fds[1]);
	}
	return ret;
}

static void serve_command(int port, uint64_t nonce, char *args, size_t length)
{
	struct command command;
	int ret, status = 0;
	uint8_t code;

	start(&command, args, length);
	ret = send_frame(port, nonce, AGENT_BEGIN, NULL, 0);
	if (!ret)
		ret = forward_all(port, nonce, &command);
	if (ret)
		kill(-command.pid, SIGKILL);
	close(command.out);
	close(command.err);
	while (waitpid(command.pid, &status, 0) < 0 && errno == EINTR)
		;
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (!ret)
		send_frame(port, nonce, AGENT_EXIT, &code, sizeof(code));
}

static void serve(const char *path)
{
	static char args[AGENT_ARGS_MAX + 1];
	struct agent_request request;
	int port = open(path, O_RDWR | O_CLOEXEC);
	uint32_t length;

	if (port < 0 || fcntl(port, F_SETOWN, getpid()) || fcntl(port, F_SETFL, O_ASYNC))
		err(1, "%s", path);
	for (;;) {
		if (read_full(port, &request, sizeof(request), true))
			continue;
		length = be32toh(request.length);
		if (!length || length > AGENT_ARGS_MAX || read_full(port, args, length, false))
			continue;
		args[length] = '\0';
		serve_command(port, request.nonce, args, length);
	}
}

int main(int argc, char **argv)
{
	sigset_t set;

	if (argc < 2)
		errx(2, "usage: agent-serve PORT...");
	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++)
		if (!fork())
			serve(argv[i]);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	return 1;
}
