// SPDX-License-Identifier: GPL-2.0
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct ring {
	struct ring_buffer *buffer;
	int epoll;
};

struct ring *ring__open(int map, ring_buffer_sample_fn handler, void *context)
{
	/* edges: else what comes while much is being read would end the next wait at once */
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct ring *ring = calloc(1, sizeof(*ring));
	int error;

	if (!ring)
		return NULL;
	ring->epoll = epoll_create1(EPOLL_CLOEXEC);
	ring->buffer = ring_buffer__new(map, handler, context, NULL);
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

	return epoll_wait(ring->epoll, &event, 1, timeout_ms) < 0 && errno != EINTR ? -errno : 0;
}

int ring__read(struct ring *ring)
{
	int handled = ring_buffer__consume(ring->buffer);

	return handled < 0 ? handled : 0;
}
