/* NVML as a driver would offer it, of GPUs that a file describes; the tests compile and load it.
 *
 * The environment variable FAKE_NVML_STATE names the file. It is read at every call, so it may
 * change at any time. Each line is a GPU, its fields between tabs:
 *
 *     name  UUID  total energy in mJ  draw in mW
 *
 * A field of the form !15 makes asking for it fail with that error of NVML; a GPU whose UUID fails
 * has no handle either. Without the file there is no driver.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9 };
enum { MOST_GPUS = 16, LINE = 256 };
enum field { NAME, UUID, ENERGY, POWER };

static int initialised;
static char devices[MOST_GPUS]; /* their addresses are the handles */

static FILE *state(void)
{
    const char *path = getenv("FAKE_NVML_STATE");
    return path ? fopen(path, "r") : NULL;
}

/* Copies a field of a GPU's line; fails where there is no such GPU. */
static int look_up(const char *device, enum field wanted, char *out)
{
    if (!initialised)
        return UNINITIALIZED;
    FILE *file = state();
    if (!file)
        return DRIVER_NOT_LOADED;
    char line[LINE];
    int found = INVALID_ARGUMENT;
    for (long i = 0; fgets(line, sizeof line, file); i++) {
        if (i != device - devices)
            continue;
        line[strcspn(line, "\n")] = '\0';
        char *field = strtok(line, "\t");
        for (int j = 0; field && j < (int)wanted; j++)
            field = strtok(NULL, "\t");
        if (field) {
            strcpy(out, field);
            found = field[0] == '!' ? atoi(field + 1) : SUCCESS;
        }
    }
    fclose(file);
    return found;
}

static int figure(const char *device, enum field wanted, unsigned long long *out)
{
    char text[LINE];
    int status = look_up(device, wanted, text);
    if (status == SUCCESS)
        *out = strtoull(text, NULL, 10);
    return status;
}

static int words(const char *device, enum field wanted, char *out, unsigned size)
{
    char text[LINE];
    int status = look_up(device, wanted, text);
    if (status == SUCCESS && strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    if (status == SUCCESS)
        strcpy(out, text);
    return status;
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    FILE *file = state();
    if (!file)
        return DRIVER_NOT_LOADED;
    fclose(file);
    initialised++;
    return SUCCESS;
}

int nvmlShutdown(void)
{
    if (!initialised)
        return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    if (!initialised)
        return UNINITIALIZED;
    FILE *file = state();
    if (!file)
        return DRIVER_NOT_LOADED;
    char line[LINE];
    for (*count = 0; fgets(line, sizeof line, file); ++*count)
        ;
    fclose(file);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, char **device)
{
    unsigned count;
    int status = nvmlDeviceGetCount_v2(&count);
    if (status != SUCCESS)
        return status;
    if (index >= count || index >= MOST_GPUS)
        return INVALID_ARGUMENT;
    *device = &devices[index];
    char uuid[LINE];
    return look_up(*device, UUID, uuid);
}

int nvmlDeviceGetName(const char *device, char *out, unsigned size)
{
    return words(device, NAME, out, size);
}

int nvmlDeviceGetUUID(const char *device, char *out, unsigned size)
{
    return words(device, UUID, out, size);
}

int nvmlDeviceGetTotalEnergyConsumption(const char *device, unsigned long long *millijoules)
{
    return figure(device, ENERGY, millijoules);
}

int nvmlDeviceGetPowerUsage(const char *device, unsigned *milliwatts)
{
    unsigned long long wide = 0;
    int status = figure(device, POWER, &wide);
    if (status == SUCCESS)
        *milliwatts = (unsigned)wide;
    return status;
}

const char *nvmlErrorString(int status)
{
    (void)status;
    return "an error of the fake";
}
