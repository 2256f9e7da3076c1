/*
 * A fake libnvidia-ml.so.1, driven by a shared file that `joulegate.testing.nvml.Control` writes.
 *
 * It is compiled against NVIDIA's own nvml.h, so a prototype that differs does not compile. The layout of
 * `struct control` is mirrored in __init__.py; fake_nvml_size() lets a test compare the two.
 *
 * Energy is a piecewise linear function of CLOCK_MONOTONIC in whole nanojoules, computed here and in
 * Python by the same integer arithmetic: both sides know every counter value exactly.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <nvml.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define GPUS 16
#define CALLS 24
#define SEGMENTS 1024
#define PIDS 64

enum call {
    INIT, SHUTDOWN, DRIVER_VERSION, COUNT, HANDLE, HANDLE_BY_UUID, UUID, NAME, ENERGY, POWER, POWER_LIMIT,
    FIELDS, FIELD_INSTANT, FIELD_AVERAGE, FIELD_ENERGY, MIG, PROCESSES, UTILIZATION, CLOCK,
    GRAPHICS, PROCESS_UTILIZATION,
};

struct segment {
    int64_t start_ns;
    int64_t energy_nj;
    int64_t power_uw;
};

struct gpu {
    char uuid[96];
    char name[96];
    uint32_t error[CALLS];
    int64_t hang_ns[CALLS];
    uint64_t calls[CALLS];
    uint32_t mig;
    uint32_t power_limit_mw;
    uint32_t clock_mhz;
    uint32_t usage_is_average;
    uint32_t gain_ppm;
    uint32_t pid_count;
    uint32_t pids[PIDS];
    uint32_t sm_percent[PIDS];
    int64_t update_ns;
    int64_t phase_ns;
    int64_t lag_ns;
    int64_t instant_ns;
    int64_t average_ns;
    int64_t reset_nj;
    uint64_t segments;
    struct segment segment[SEGMENTS];
};

struct control {
    uint32_t count;
    uint32_t order[GPUS];
    uint32_t error[CALLS];
    int64_t hang_ns[CALLS];
    uint64_t calls[CALLS];
    char driver[80];
    struct gpu gpu[GPUS];
};

struct nvmlDevice_st {
    unsigned slot;
};

static struct nvmlDevice_st handles[GPUS];
static struct control *control;
static int references;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* --- the control file ------------------------------------------------------------------------------ */

size_t fake_nvml_size(void) { return sizeof(struct control); }

/* Take another control file; NULL takes none: then the driver is "not loaded". */
int fake_nvml_open(const char *path) {
    references = 0;
    control = NULL; /* the old mapping is kept: a call that hangs may still look at it */
    if (path == NULL) return 0;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return -1;
    void *memory = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return -1;
    control = memory;
    return 0;
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A hang ends after its time, or at once when the test writes 0. */
static void hang(volatile int64_t *for_ns) {
    int64_t start = now_ns();
    while (*for_ns != 0 && now_ns() - start < *for_ns) {
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
}

static nvmlReturn_t global_call(enum call call) {
    struct control *here = control;
    if (here == NULL) return NVML_ERROR_UNINITIALIZED;
    __atomic_add_fetch(&here->calls[call], 1, __ATOMIC_RELAXED);
    hang(&here->hang_ns[call]);
    if (here->error[call] != 0) return here->error[call];
    return references > 0 || call == INIT ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}

static nvmlReturn_t device_call(enum call call, nvmlDevice_t device, struct gpu **gpu) {
    if (device < handles || device >= handles + GPUS) return NVML_ERROR_INVALID_ARGUMENT;
    nvmlReturn_t result = global_call(call);
    if (result != NVML_SUCCESS) return result;
    struct gpu *found = &control->gpu[device->slot];
    __atomic_add_fetch(&found->calls[call], 1, __ATOMIC_RELAXED);
    hang(&found->hang_ns[call]);
    *gpu = found;
    return found->error[call];
}

/* --- the power model ------------------------------------------------------------------------------- */

static const struct segment *segment_at(const struct gpu *gpu, int64_t t) {
    uint64_t count = __atomic_load_n(&gpu->segments, __ATOMIC_ACQUIRE);
    if (count == 0) return NULL;
    uint64_t oldest = count >= SEGMENTS ? count - SEGMENTS + 1 : 0; /* the next slot is being written */
    uint64_t at = count - 1;
    while (at > oldest && gpu->segment[at % SEGMENTS].start_ns > t) at--;
    return &gpu->segment[at % SEGMENTS];
}

static int64_t energy_nj(const struct gpu *gpu, int64_t t) {
    const struct segment *segment = segment_at(gpu, t);
    if (segment == NULL) return 0;
    int64_t elapsed = t > segment->start_ns ? t - segment->start_ns : 0;
    return segment->energy_nj + (int64_t)((__int128)segment->power_uw * elapsed / 1000000);
}

/* The instant that the sensor shows now. */
static int64_t shown_ns(const struct gpu *gpu) {
    int64_t t = now_ns();
    if (gpu->update_ns > 0) t -= (t - gpu->phase_ns) % gpu->update_ns;
    return t - gpu->lag_ns;
}

static unsigned long long counter_mj(const struct gpu *gpu) {
    int64_t energy = energy_nj(gpu, shown_ns(gpu)) - gpu->reset_nj;
    if (energy < 0) energy = 0;
    return (unsigned long long)((__int128)energy * gpu->gain_ppm / 1000000 / 1000000);
}

/* Mean over the window that the sensor averages, or the present value for a window of 0. */
static unsigned power_mw(const struct gpu *gpu, int64_t window_ns) {
    int64_t t = shown_ns(gpu);
    const struct segment *segment = segment_at(gpu, t);
    if (segment == NULL) return 0;
    __int128 power_uw = segment->power_uw;
    if (window_ns > 0) {
        power_uw = (__int128)(energy_nj(gpu, t) - energy_nj(gpu, t - window_ns)) * 1000000 / window_ns;
    }
    return (unsigned)(power_uw * gpu->gain_ppm / 1000000 / 1000);
}

/* --- the library ----------------------------------------------------------------------------------- */

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    pthread_mutex_lock(&mutex);
    if (control == NULL && getenv("JOULEGATE_FAKE_NVML") != NULL) fake_nvml_open(getenv("JOULEGATE_FAKE_NVML"));
    for (unsigned slot = 0; slot < GPUS; slot++) handles[slot].slot = slot;
    pthread_mutex_unlock(&mutex);
    if (control == NULL) return NVML_ERROR_DRIVER_NOT_LOADED;
    nvmlReturn_t result = global_call(INIT);
    if (result == NVML_SUCCESS) __atomic_add_fetch(&references, 1, __ATOMIC_SEQ_CST);
    return result;
}

nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

nvmlReturn_t nvmlShutdown(void) {
    nvmlReturn_t result = global_call(SHUTDOWN);
    if (result == NVML_SUCCESS) __atomic_sub_fetch(&references, 1, __ATOMIC_SEQ_CST);
    return result;
}

const char *nvmlErrorString(nvmlReturn_t result) {
    static _Thread_local char text[40];
    snprintf(text, sizeof text, "error %d of the fake library", (int)result);
    return text;
}

static nvmlReturn_t copy(char *to, unsigned length, const char *text) {
    if (strlen(text) + 1 > length) return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, text);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    nvmlReturn_t result = global_call(DRIVER_VERSION);
    return result != NVML_SUCCESS ? result : copy(version, length, control->driver);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    nvmlReturn_t result = global_call(COUNT);
    if (result == NVML_SUCCESS) *count = control->count;
    return result;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    nvmlReturn_t result = global_call(HANDLE);
    if (result != NVML_SUCCESS) return result;
    if (index >= control->count) return NVML_ERROR_INVALID_ARGUMENT;
    struct gpu *gpu;
    *device = &handles[control->order[index]];
    return device_call(HANDLE, *device, &gpu);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    nvmlReturn_t result = global_call(HANDLE_BY_UUID);
    if (result != NVML_SUCCESS) return result;
    for (unsigned index = 0; index < control->count; index++) {
        struct gpu *gpu;
        unsigned slot = control->order[index];
        if (strcmp(control->gpu[slot].uuid, uuid) != 0) continue;
        *device = &handles[slot];
        return device_call(HANDLE_BY_UUID, *device, &gpu);
    }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(UUID, device, &gpu);
    return result != NVML_SUCCESS ? result : copy(uuid, length, gpu->uuid);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(NAME, device, &gpu);
    return result != NVML_SUCCESS ? result : copy(name, length, gpu->name);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *energy) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(ENERGY, device, &gpu);
    if (result == NVML_SUCCESS) *energy = counter_mj(gpu);
    return result;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *power) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(POWER, device, &gpu);
    if (result != NVML_SUCCESS) return result;
    *power = power_mw(gpu, gpu->usage_is_average ? gpu->average_ns : gpu->instant_ns);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *limit) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(POWER_LIMIT, device, &gpu);
    if (result == NVML_SUCCESS) *limit = gpu->power_limit_mw;
    return result;
}

static void field(const struct gpu *gpu, nvmlFieldValue_t *value) {
    value->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
    value->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
    switch (value->fieldId) {
    case NVML_FI_DEV_POWER_INSTANT:
        value->nvmlReturn = gpu->error[FIELD_INSTANT];
        value->value.uiVal = power_mw(gpu, gpu->instant_ns);
        return;
    case NVML_FI_DEV_POWER_AVERAGE:
        value->nvmlReturn = gpu->error[FIELD_AVERAGE];
        value->value.uiVal = power_mw(gpu, gpu->average_ns);
        return;
    case NVML_FI_DEV_ENERGY:
    case NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION:
        value->nvmlReturn = gpu->error[FIELD_ENERGY];
        value->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
        value->value.ullVal = counter_mj(gpu);
        return;
    }
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(FIELDS, device, &gpu);
    if (result != NVML_SUCCESS) return result;
    for (int at = 0; at < count; at++) field(gpu, &values[at]);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(MIG, device, &gpu);
    if (result == NVML_SUCCESS) *current = *pending = gpu->mig;
    return result;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                     nvmlProcessInfo_t *processes) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(PROCESSES, device, &gpu);
    if (result != NVML_SUCCESS) return result;
    unsigned room = *count;
    *count = gpu->pid_count;
    if (gpu->pid_count == 0) return NVML_SUCCESS;
    if (room < gpu->pid_count) return NVML_ERROR_INSUFFICIENT_SIZE;
    memset(processes, 0, sizeof *processes * gpu->pid_count);
    for (unsigned at = 0; at < gpu->pid_count; at++) processes[at].pid = gpu->pids[at];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                      nvmlProcessInfo_t *processes) {
    (void)processes;
    struct gpu *gpu;
    nvmlReturn_t result = device_call(GRAPHICS, device, &gpu);
    if (result == NVML_SUCCESS) *count = 0;
    return result;
}

/* One sample of each process that was busy, newer than the caller has seen. */
nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *samples,
                                             unsigned int *count, unsigned long long last_seen) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(PROCESS_UTILIZATION, device, &gpu);
    if (result != NVML_SUCCESS) return result;
    unsigned long long now = (unsigned long long)(now_ns() / 1000);
    unsigned room = *count, found = 0;
    for (unsigned at = 0; at < gpu->pid_count && now > last_seen; at++) {
        if (gpu->sm_percent[at] == 0) continue;
        if (found < room && samples != NULL) {
            memset(&samples[found], 0, sizeof *samples);
            samples[found].pid = gpu->pids[at];
            samples[found].timeStamp = now;
            samples[found].smUtil = gpu->sm_percent[at];
        }
        found++;
    }
    *count = found;
    if (found == 0) return NVML_ERROR_NOT_FOUND;
    return room < found ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
    struct gpu *gpu;
    nvmlReturn_t result = device_call(UTILIZATION, device, &gpu);
    if (result != NVML_SUCCESS) return result;
    utilization->gpu = gpu->pid_count > 0 ? 100 : 0;
    utilization->memory = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *clock) {
    (void)type;
    struct gpu *gpu;
    nvmlReturn_t result = device_call(CLOCK, device, &gpu);
    if (result == NVML_SUCCESS) *clock = gpu->clock_mhz;
    return result;
}
