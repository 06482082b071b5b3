// SPDX-License-Identifier: GPL-2.0
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
	READ_MS = 100,
	RECORDS = 64, /* between two looks at the clock */
};

struct ring {
	struct ring_buffer *buffer;
	ring_buffer_sample_fn handler;
	void *context;
	__s64 until_ms; /* of CLOCK_MONOTONIC; 0: until there is nothing left */
	unsigned int handled;
	bool behind; /* there may be more */
	int epoll;
};

static __s64 now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* An error ends the reading; libbpf has taken this record out by then (ringbuf_process_ring). */
static int handle(void *context, void *data, size_t size)
{
	struct ring *ring = context;
	int error = ring->handler(ring->context, data, size);

	if (error || !ring->until_ms || ++ring->handled % RECORDS || now_ms() < ring->until_ms)
		return error;
	ring->behind = true;
	return -ETIME;
}

struct ring *ring__open(int map, ring_buffer_sample_fn handler, void *context)
{
	/* edges: else what comes while much is being read would end the next wait at once */
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct ring *ring = calloc(1, sizeof(*ring));
	int error;

	if (!ring)
		return NULL;
	ring->epoll = epoll_create1(EPOLL_CLOEXEC);
	ring->handler = handler;
	ring->context = context;
	ring->buffer = ring_buffer__new(map, handle, ring, NULL);
	if (ring->epoll >= 0 && ring->buffer && !epoll_ctl(ring->epoll, EPOLL_CTL_ADD, map, &event))
		return ring;
	error = errno;
	ring__close(ring);
	errno = error;
	return NULL;
}

void ring__close(struct ring *ring)
{
	if (!ring)
		return;
	ring_buffer__free(ring->buffer);
	if (ring->epoll >= 0)
		close(ring->epoll);
	free(ring);
}

int ring__watch(struct ring *ring, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(ring->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int ring__wait(struct ring *ring, int timeout_ms)
{
	struct epoll_event event;

	if (ring->behind)
		timeout_ms = 0;
	return epoll_wait(ring->epoll, &event, 1, timeout_ms) < 0 && errno != EINTR ? -errno : 0;
}

int ring__read(struct ring *ring, bool all)
{
	int handled;

	ring->until_ms = all ? 0 : now_ms() + READ_MS;
	ring->behind = false;
	handled = ring_buffer__consume(ring->buffer);
	return handled < 0 && !ring->behind ? handled : 0;
}
