// Copyright 2026 da_ros maintainers
// SPDX-License-Identifier: Apache-2.0
/*
 * A CUDA driver without a GPU, for tests of da_ros/backends/cuda.py: a real shared library with the
 * functions that are used, on host memory.
 *
 * It is stricter than a GPU: asynchronous work waits in the stream's queue until something
 * synchronises, so a missing synchronisation shows as stale data; every call needs a context that
 * is current in its own thread; copies must lie inside live allocations, their host side inside
 * pinned ones; new device memory is filled with 0xAB. What is made and freed is counted.
 *
 * fake_fail(function, code, after) lets a call fail, the environment variable
 * FAKE_CUDA_FAIL=function:code does so from the start, FAKE_CUDA_DEVICES=0 removes the device.
 */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100,
       INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, ILLEGAL_ADDRESS = 700,
       LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };

typedef void (*Host)(void *);
typedef struct Work { void *to; const void *from; size_t size; Host host; void *user; } Work;
typedef struct Queue { Work *work; int count, room; } Queue;
typedef struct Stream { Queue queue, captured; int capturing; } Stream;
typedef struct Event { Stream *stream; } Event;
typedef struct Block { char *start; size_t size; int pinned; struct Block *next; } Block;

static const char *KINDS[] = {"context", "device", "pinned", "stream", "event", "graph", "exec"};
enum { CONTEXT, DEVICE, PINNED, STREAM, EVENT, GRAPH, EXEC, KIND_COUNT };
static long live[KIND_COUNT], made[KIND_COUNT];
static Block *blocks;
static int initialised, the_context;
static __thread void *current;
static char failing[64];
static int failing_code, failing_after;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void count(int kind, int by)
{
    pthread_mutex_lock(&mutex);
    live[kind] += by;
    made[kind] += by > 0;
    pthread_mutex_unlock(&mutex);
}

static int kind_of(const char *name)
{
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (!strcmp(name, KINDS[kind]))
            return kind;
    return -1;
}

long fake_live(const char *name) { return live[kind_of(name)]; }

long fake_made(const char *name) { return made[kind_of(name)]; }

void fake_fail(const char *function, int code, int after)
{
    snprintf(failing, sizeof failing, "%s", function);
    failing_code = code;
    failing_after = after;
}

static int fails(const char *function)
{
    const char *wanted = getenv("FAKE_CUDA_FAIL");
    const char *colon = wanted ? strchr(wanted, ':') : NULL;
    if (colon && strlen(function) == (size_t)(colon - wanted)
        && !strncmp(wanted, function, colon - wanted))
        return atoi(colon + 1);
    if (strcmp(failing, function) || failing_after-- > 0)
        return 0;
    failing[0] = 0;
    return failing_code;
}

#define CHECK do { \
    int code = fails(__func__); \
    if (code) return code; \
    if (!initialised) return NOT_INITIALIZED; \
    if (current != &the_context || !live[CONTEXT]) return INVALID_CONTEXT; } while (0)

int cuGetErrorString(int code, const char **text)
{
    switch (code) {
    case INVALID_VALUE: *text = "invalid argument"; break;
    case OUT_OF_MEMORY: *text = "out of memory"; break;
    case NOT_INITIALIZED: *text = "initialization error"; break;
    case NO_DEVICE: *text = "no CUDA-capable device is detected"; break;
    case INVALID_DEVICE: *text = "invalid device ordinal"; break;
    case INVALID_CONTEXT: *text = "invalid device context"; break;
    case INVALID_HANDLE: *text = "invalid resource handle"; break;
    case ILLEGAL_ADDRESS: *text = "an illegal memory access was encountered"; break;
    case LAUNCH_FAILED: *text = "unspecified launch failure"; break;
    case CAPTURE_UNSUPPORTED: *text = "operation not permitted when stream is capturing"; break;
    default: *text = NULL; return INVALID_VALUE;
    }
    return 0;
}

int cuInit(unsigned flags)
{
    const char *devices = getenv("FAKE_CUDA_DEVICES");
    int code = fails(__func__);
    if (code || flags)
        return code ? code : INVALID_VALUE;
    if (devices && !atoi(devices))
        return NO_DEVICE;
    initialised = 1;
    return 0;
}

int cuDriverGetVersion(int *version) { *version = 13010; return 0; }

int cuDeviceGet(int *device, int ordinal)
{
    if (!initialised) return NOT_INITIALIZED;
    *device = ordinal;
    return ordinal ? INVALID_DEVICE : 0;
}

int cuDeviceGetName(char *name, int size, int device)
{
    snprintf(name, size, "Fake GPU");
    return device ? INVALID_DEVICE : 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : attribute == 16 ? 128 : 0;
    return device ? INVALID_DEVICE : 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    int code = fails(__func__);
    if (code || device)
        return code ? code : INVALID_DEVICE;
    count(CONTEXT, 1);
    *context = &the_context;
    return 0;
}

int cuCtxSetCurrent(void *context)
{
    int code = fails(__func__);
    if (!code) current = context;
    return code;
}

static Block *find(const void *address, size_t size)
{
    for (Block *block = blocks; block; block = block->next)
        if ((const char *)address >= block->start
            && (const char *)address + size <= block->start + block->size)
            return block;
    return NULL;
}

static void *take(size_t size, int kind)
{
    Block *block = malloc(sizeof *block);
    *block = (Block){aligned_alloc(256, (size + 255) / 256 * 256), size, kind == PINNED, blocks};
    memset(block->start, 0xAB, size);
    blocks = block;
    count(kind, 1);
    return block->start;
}

static int give(void *address, int kind)
{
    for (Block **link = &blocks; *link; link = &(*link)->next)
        if ((*link)->start == address && (*link)->pinned == (kind == PINNED)) {
            Block *block = *link;
            *link = block->next;
            free(block->start);
            free(block);
            count(kind, -1);
            return 0;
        }
    return INVALID_VALUE;
}

int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    CHECK;
    *total = *available = (size_t)1 << 34;
    for (Block *block = blocks; block; block = block->next)
        *available -= block->pinned ? 0 : block->size;
    return 0;
}

int cuMemAlloc_v2(uint64_t *address, size_t size)
{
    CHECK;
    if (!size) return INVALID_VALUE;
    if (size >> 34) return OUT_OF_MEMORY;
    *address = (uint64_t)take(size, DEVICE);
    return 0;
}

int cuMemFree_v2(uint64_t address) { CHECK; return give((void *)address, DEVICE); }

int cuMemHostAlloc(void **address, size_t size, unsigned flags)
{
    CHECK;
    if (!size || flags) return INVALID_VALUE;
    *address = take(size, PINNED);
    return 0;
}

int cuMemFreeHost(void *address) { CHECK; return give(address, PINNED); }

int cuStreamCreate(Stream **stream, unsigned flags)
{
    CHECK;
    if (flags != 1) return INVALID_VALUE;
    *stream = calloc(1, sizeof **stream);
    count(STREAM, 1);
    return 0;
}

static void push(Queue *queue, Work work)
{
    if (queue->count == queue->room) {
        queue->room = 2 * queue->room + 8;
        queue->work = realloc(queue->work, queue->room * sizeof work);
    }
    queue->work[queue->count++] = work;
}

static int run(Queue *queue)
{
    int code = 0;
    for (int i = 0; i < queue->count && !code; i++) {
        Work *work = &queue->work[i];
        if (work->host)
            work->host(work->user);
        else if (!find(work->to, work->size) || !find(work->from, work->size))
            code = ILLEGAL_ADDRESS;
        else
            memcpy(work->to, work->from, work->size);
    }
    queue->count = 0;
    return code;
}

int cuStreamDestroy_v2(Stream *stream)
{
    CHECK;
    free(stream->queue.work);
    free(stream->captured.work);
    free(stream);
    count(STREAM, -1);
    return 0;
}

static int enqueue(Stream *stream, Work work)
{
    if (!stream) return INVALID_HANDLE;
    push(stream->capturing ? &stream->captured : &stream->queue, work);
    return 0;
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, Stream *stream)
{
    CHECK;
    Block *host = find(from, size), *device = find((void *)to, size);
    if (!host || !host->pinned || !device || device->pinned) return INVALID_VALUE;
    return enqueue(stream, (Work){(void *)to, from, size, NULL, NULL});
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, Stream *stream)
{
    CHECK;
    Block *host = find(to, size), *device = find((void *)from, size);
    if (!host || !host->pinned || !device || device->pinned) return INVALID_VALUE;
    return enqueue(stream, (Work){to, (void *)from, size, NULL, NULL});
}

int cuLaunchHostFunc(Stream *stream, Host function, void *user)
{
    CHECK;
    return enqueue(stream, (Work){NULL, NULL, 0, function, user});
}

int cuEventCreate(Event **event, unsigned flags)
{
    CHECK;
    if (flags != 3) return INVALID_VALUE;
    *event = calloc(1, sizeof **event);
    count(EVENT, 1);
    return 0;
}

int cuEventDestroy_v2(Event *event)
{
    CHECK;
    free(event);
    count(EVENT, -1);
    return 0;
}

int cuEventRecord(Event *event, Stream *stream)
{
    CHECK;
    if (stream->capturing) return CAPTURE_UNSUPPORTED;
    event->stream = stream;
    return 0;
}

int cuEventSynchronize(Event *event)
{
    CHECK;
    return event->stream ? run(&event->stream->queue) : 0;
}

int cuStreamBeginCapture_v2(Stream *stream, int mode)
{
    CHECK;
    if (mode != 1 || stream->capturing) return INVALID_VALUE;
    stream->capturing = 1;
    stream->captured.count = 0;
    return 0;
}

static Queue *copy(const Queue *queue, int kind)
{
    Queue *other = calloc(1, sizeof *other);
    for (int i = 0; i < queue->count; i++)
        push(other, queue->work[i]);
    count(kind, 1);
    return other;
}

static int discard(Queue *queue, int kind)
{
    free(queue->work);
    free(queue);
    count(kind, -1);
    return 0;
}

int cuStreamEndCapture(Stream *stream, Queue **graph)
{
    if (!stream->capturing) return INVALID_VALUE;
    stream->capturing = 0;
    *graph = NULL;
    CHECK;
    *graph = copy(&stream->captured, GRAPH);
    return 0;
}

int cuGraphInstantiateWithFlags(Queue **executable, Queue *graph, unsigned long long flags)
{
    CHECK;
    if (flags) return INVALID_VALUE;
    *executable = copy(graph, EXEC);
    return 0;
}

int cuGraphLaunch(Queue *executable, Stream *stream)
{
    CHECK;
    for (int i = 0; i < executable->count; i++)
        enqueue(stream, executable->work[i]);
    return 0;
}

int cuGraphDestroy(Queue *graph) { CHECK; return discard(graph, GRAPH); }

int cuGraphExecDestroy(Queue *executable) { CHECK; return discard(executable, EXEC); }
