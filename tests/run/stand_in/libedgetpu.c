/* Stands in for Google's libedgetpu: the same symbols, and a real TfLiteDelegate, on no hardware.
 *
 * The delegate claims one op of a model (the op "edgetpu-custom-op" where there is one), computes a
 * builtin one by the very kernel that it replaces, and leaves the rest to the CPU. So results are
 * those of the uncompiled model, bit for bit. Ops whose kernels need no tensors of their own come
 * first, as TFLite finds room for those of nodes in its plan alone.
 *
 * STAND_IN_FOLDER names a folder in which a test says what there is:
 *   devices      a line per device: "usb /sys/bus/usb/devices/2-1" or "pci /dev/apex_0"
 *   in_use/NAME  whether a device is open, one file per process: "usb:0.PID.NUMBER"
 *   options      a line "KEY=VALUE" is appended for each option that a delegate is given
 *   refuse       so many further delegates are refused; the number in it is counted down
 *   fail.NAME    invocations on that device fail
 *   hang.NAME    invocations on that device wait until the file is gone
 *   slow.NAME    microseconds that an invocation on that device takes longer
 *   crash        loading a delegate is a segmentation fault
 *
 * What TensorFlow Lite's headers would declare is declared here, up to the fields that are used;
 * these structs have only ever grown at their ends.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  int size;
  int data[];
} TfLiteIntArray;

typedef struct TfLiteDelegate TfLiteDelegate;
typedef struct TfLiteContext TfLiteContext;
typedef int TfLiteStatus; /* 0 is kTfLiteOk, 1 kTfLiteError */

typedef struct {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  TfLiteIntArray* temporaries;
  void* user_data;
  void* builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
  TfLiteDelegate* delegate;
  bool might_have_side_effect;
} TfLiteNode;

typedef struct {
  void* (*init)(TfLiteContext*, const char*, size_t);
  void (*free)(TfLiteContext*, void*);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  const char* (*profiling_string)(const TfLiteContext*, const TfLiteNode*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* further[8]; /* fields of later versions, all of them zero */
} TfLiteRegistration;

struct TfLiteContext {
  size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext*, TfLiteIntArray**);
  void* tensors;
  void* impl_;
  void* ResizeTensor;
  void (*ReportError)(TfLiteContext*, const char*, ...);
  void* AddTensors;
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext*, int, TfLiteNode**, TfLiteRegistration**);
  TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext*, TfLiteRegistration,
                                                        const TfLiteIntArray*, TfLiteDelegate*);
};

struct TfLiteDelegate {
  void* data_;
  TfLiteStatus (*Prepare)(TfLiteContext*, TfLiteDelegate*);
  void* CopyFromBufferHandle;
  void* CopyToBufferHandle;
  void* FreeBufferHandle;
  int64_t flags;
  void* further[4];
};

typedef struct {
  TfLiteDelegate* delegate;
  TfLiteIntArray* nodes_to_replace;
  TfLiteIntArray* input_tensors;
  TfLiteIntArray* output_tensors;
} TfLiteDelegateParams;

typedef struct {
  char device[32];
  char opened[512];
} Data;

typedef struct {
  Data* data;
  TfLiteNode* node;
  TfLiteRegistration* registration;
} Kernel;

/* --- what a test says ------------------------------------------------------------------------ */

static void path_of(char* path, size_t size, const char* name) {
  const char* folder = getenv("STAND_IN_FOLDER");
  snprintf(path, size, "%s/%s", folder ? folder : "/nonexistent", name);
}

/* The number in a file, 0 for an empty one, -1 if there is none. */
static long said(const char* what, const char* device) {
  char name[64], path[512], text[32] = "";
  snprintf(name, sizeof name, device ? "%s.%s" : "%s", what, device);
  path_of(path, sizeof path, name);
  FILE* file = fopen(path, "r");
  if (!file) return -1;
  if (!fgets(text, sizeof text, file)) text[0] = 0;
  fclose(file);
  return atol(text);
}

static void say(const char* what, const char* mode, const char* text) {
  char path[512];
  path_of(path, sizeof path, what);
  FILE* file = fopen(path, mode);
  if (!file) return;
  fputs(text, file);
  fclose(file);
}

/* --- edgetpu_c.h ----------------------------------------------------------------------------- */

struct edgetpu_device {
  int type; /* 0 is EDGETPU_APEX_PCI, 1 EDGETPU_APEX_USB */
  const char* path;
};

struct edgetpu_device* edgetpu_list_devices(size_t* num_devices) {
  char path[512], kind[16], where[256];
  path_of(path, sizeof path, "devices");
  *num_devices = 0;
  FILE* file = fopen(path, "r");
  if (!file) return NULL;
  struct edgetpu_device* devices = calloc(64, sizeof *devices);
  while (*num_devices < 64 && fscanf(file, "%15s %255s", kind, where) == 2) {
    devices[*num_devices].type = strcmp(kind, "pci") ? 1 : 0;
    devices[*num_devices].path = strdup(where);
    ++*num_devices;
  }
  fclose(file);
  if (*num_devices == 0) {
    free(devices);
    return NULL;
  }
  return devices;
}

void edgetpu_free_devices(struct edgetpu_device* devices) { free(devices); }

const char* edgetpu_version(void) {
  return "BuildLabel(COMPILER=stand-in,DATE=redacted,TIME=redacted), RuntimeVersion(14)";
}

/* Whether there is a device "usb:N" or "pci:N". */
static bool is_there(const char* device) {
  size_t count, index = 0;
  struct edgetpu_device* devices = edgetpu_list_devices(&count);
  const char* colon = strchr(device, ':');
  int wanted = colon ? atoi(colon + 1) : 0, type = strncmp(device, "pci", 3) ? 1 : 0, seen = 0;
  bool found = false;
  for (; index < count; ++index) {
    if (devices[index].type == type && seen++ == wanted) found = true;
  }
  edgetpu_free_devices(devices);
  return found;
}

/* --- the delegate ---------------------------------------------------------------------------- */

static void* kernel_init(TfLiteContext* context, const char* buffer, size_t length) {
  const TfLiteDelegateParams* params = (const TfLiteDelegateParams*)buffer;
  Kernel* kernel = calloc(1, sizeof *kernel);
  (void)length;
  kernel->data = params->delegate->data_;
  context->GetNodeAndRegistration(context, params->nodes_to_replace->data[0], &kernel->node,
                                  &kernel->registration);
  return kernel;
}

static void kernel_free(TfLiteContext* context, void* kernel) {
  (void)context;
  free(kernel);
}

static TfLiteStatus kernel_prepare(TfLiteContext* context, TfLiteNode* node) {
  Kernel* kernel = node->user_data;
  TfLiteStatus status = kernel->registration->prepare
                            ? kernel->registration->prepare(context, kernel->node)
                            : 0;
  const TfLiteIntArray* needed = kernel->node->temporaries;
  if (status == 0 && needed && needed->size) {
    /* TFLite gives room to the temporaries of nodes in its plan, and the op's own is not in it. */
    TfLiteIntArray* copy = malloc(sizeof(int) * (needed->size + 1));
    memcpy(copy, needed, sizeof(int) * (needed->size + 1));
    free(node->temporaries);
    node->temporaries = copy;
  }
  return status;
}

static TfLiteStatus kernel_invoke(TfLiteContext* context, TfLiteNode* node) {
  Kernel* kernel = node->user_data;
  const char* device = kernel->data->device;
  while (said("hang", device) >= 0) usleep(1000);
  long slow = said("slow", device);
  if (slow > 0) usleep(slow);
  if (said("fail", device) >= 0 || !is_there(device)) {
    context->ReportError(context, "Failed to execute request on %s: USB transfer error 2", device);
    return 1;
  }
  return kernel->registration->invoke(context, kernel->node);
}

/* Whether an op's kernel needs nothing but its inputs and outputs: ADD, AVERAGE_POOL_2D,
 * CONCATENATION, MAX_POOL_2D, MUL, RELU, RELU6, RESHAPE, PAD, QUANTIZE. */
static bool is_plain(int32_t code) {
  static const int32_t plain[] = {0, 1, 2, 17, 18, 19, 21, 22, 34, 114};
  for (size_t index = 0; index < sizeof plain / sizeof *plain; ++index) {
    if (plain[index] == code) return true;
  }
  return false;
}

static TfLiteStatus delegate_prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  TfLiteIntArray* plan;
  TfLiteNode* node;
  TfLiteRegistration* found;
  TfLiteRegistration ours = {.init = kernel_init,
                             .free = kernel_free,
                             .prepare = kernel_prepare,
                             .invoke = kernel_invoke,
                             .custom_name = "EdgeTpuDelegateForCustomOp",
                             .version = 1};
  if (context->GetExecutionPlan(context, &plan) || plan->size == 0) return 1;
  int claimed = plan->data[0];
  for (int index = plan->size - 1; index >= 0; --index) {
    context->GetNodeAndRegistration(context, plan->data[index], &node, &found);
    if (is_plain(found->builtin_code)) claimed = plan->data[index];
  }
  for (int index = 0; index < plan->size; ++index) {
    context->GetNodeAndRegistration(context, plan->data[index], &node, &found);
    if (found->custom_name && !strcmp(found->custom_name, "edgetpu-custom-op")) {
      claimed = plan->data[index];
    }
  }
  TfLiteIntArray* nodes = malloc(2 * sizeof(int));
  nodes->size = 1;
  nodes->data[0] = claimed;
  TfLiteStatus status =
      context->ReplaceNodeSubsetsWithDelegateKernels(context, ours, nodes, delegate);
  free(nodes);
  return status;
}

TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t num_options,
                                              void (*report_error)(const char*)) {
  static int number;
  Data* data = calloc(1, sizeof *data);
  char line[512], name[64];
  for (size_t index = 0; index < num_options; ++index) {
    if (!strcmp(keys[index], "device")) {
      snprintf(data->device, sizeof data->device, "%s", values[index]);
    }
    snprintf(line, sizeof line, "%s=%s\n", keys[index], values[index]);
    say("options", "a", line);
  }
  if (said("crash", NULL) >= 0) *(volatile int*)0 = 1;
  long refused = said("refuse", NULL);
  if (refused > 0) {
    snprintf(line, sizeof line, "%ld", refused - 1);
    say("refuse", "w", line);
  }
  if (refused > 0 || !is_there(data->device)) {
    report_error("stand-in: the device cannot be opened");
    free(data);
    return NULL;
  }
  snprintf(name, sizeof name, "in_use/%s.%d.%d", data->device, getpid(), number++);
  path_of(data->opened, sizeof data->opened, name);
  FILE* file = fopen(data->opened, "w");
  if (file) fclose(file);
  TfLiteDelegate* delegate = calloc(1, sizeof *delegate);
  delegate->data_ = data;
  delegate->Prepare = delegate_prepare;
  return delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (!delegate) return;
  Data* data = delegate->data_;
  unlink(data->opened);
  free(data);
  free(delegate);
}
