// SPDX-License-Identifier: GPL-2.0
/* A check for programs. */
#include <json-c/json.h>

#include "check.h"
#include "json_add.h"
#include "version.h"

static void add_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

static const char *or_null(const char *string)
{
	return string && string[0] ? string : NULL;
}

static void add_module(void *list, const char *module, enum module_state state, bool btf)
{
	static const char *const states[] = { "absent", "loaded", "built_in" };
	struct json_object *entry = json_object_new_object();

	add_string(entry, "module", module);
	add_string(entry, "state", states[state]);
	add_bool(entry, "btf", btf);
	json_object_array_add(list, entry);
}

static struct json_object *obstacle_list(const struct obstacles *obstacles)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < obstacles->count; i++)
		json_object_array_add(list, json_object_new_string(obstacles->text[i]));
	return list;
}

static struct json_object *capability_list(const struct check *check)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < sizeof(check->capabilities) / sizeof(*check->capabilities); i++) {
		struct json_object *entry = json_object_new_object();

		add_string(entry, "capability", check->capabilities[i].name);
		add_bool(entry, "present", check->capabilities[i].present);
		add_string(entry, "use", check->capabilities[i].use);
		json_object_array_add(list, entry);
	}
	return list;
}

static void add_port(struct json_object *object, const struct check *check, const char *device)
{
	struct check_port port = check__port(check, device);

	add_string(object, "master", or_null(port.master));
	add_string(object, "bridge", or_null(port.bridge));
	add_string(object, "ovs_port", or_null(port.port));
}

static struct json_object *tap_list(const struct check *check)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < check->devices.count; i++) {
		const struct device *device = &check->devices.all[i];
		struct json_object *entry;

		if (!device->tap)
			continue;
		entry = json_object_new_object();
		add_string(entry, "vm_interface", device->name);
		add_string(entry, "vm", or_null(device->vm));
		add_bool(entry, "traced", devices__chosen(device));
		add_port(entry, check, device->name);
		json_object_array_add(list, entry);
	}
	return list;
}

static struct json_object *nic_list(const struct check *check)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < check->devices.count; i++) {
		const struct device *device = &check->devices.all[i];
		struct json_object *entry;
		char driver[64];

		if (device->tap || !(device->nic || device->roles))
			continue;
		entry = json_object_new_object();
		add_string(entry, "phy_interface", device->name);
		add_string(entry, "driver",
			   or_null(check__driver(device->name, driver, sizeof(driver))));
		add_bool(entry, "traced", devices__chosen(device));
		add_bool(entry, "leads_to_switch", device->leads_to_switch);
		add_port(entry, check, device->name);
		json_object_array_add(list, entry);
	}
	return list;
}

static struct json_object *tunnel_ports(const struct tunnels *tunnels)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < tunnels->count; i++)
		json_object_array_add(list, json_object_new_int(tunnels->port[i]));
	return list;
}

static struct json_object *hook_list(const struct check *check)
{
	struct json_object *list = json_object_new_array();

	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		const struct hook_choice *choice = &check->hooks[id];
		struct json_object *entry = json_object_new_object();

		add_string(entry, "stage", stage_name(hooks[id].stage));
		add_string(entry, "hook", hooks[id].name);
		add_bool(entry, "at_return", hooks[id].kind == VMLAT_RETURN);
		add_bool(entry, "needed", !check__not_needed(check, id));
		add_string(entry, "attach", choice->attach);
		add_string(entry, "passed_over", choice->passed_over);
		add_string(entry, "why", choice->missing);
		json_object_array_add(list, entry);
	}
	return list;
}

static void add_lack(void *list, const char *field, const char *why)
{
	struct json_object *entry = json_object_new_object();

	add_string(entry, "field", field);
	add_string(entry, "why", why);
	json_object_array_add(list, entry);
}

static void add_hidden(void *list, const char *what, const char *why)
{
	struct json_object *entry = json_object_new_object();

	add_string(entry, "what", what);
	add_string(entry, "why", why);
	json_object_array_add(list, entry);
}

static struct json_object *unseen_list(const struct unseen_list *unseen)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < unseen->count; i++) {
		struct json_object *entry = json_object_new_object();

		add_string(entry, "kind", unseen_name(unseen->all[i].kind));
		add_string(entry, "what", or_null(unseen->all[i].what));
		add_string(entry, "vm", or_null(unseen->all[i].vm));
		add_string(entry, "how", unseen->all[i].how);
		json_object_array_add(list, entry);
	}
	return list;
}

void check__write_json(const struct check *check)
{
	struct json_object *object = json_object_new_object(), *modules, *lacks, *hidden;

	modules = json_object_new_array();
	check__modules(check, add_module, modules);
	lacks = json_object_new_array();
	check__lacks(check, add_lack, lacks);
	hidden = json_object_new_array();
	check__hidden(check, add_hidden, hidden);
	add_string(object, "type", "check");
	add_count(object, "schema", SCHEMA);
	add_string(object, "vmlat", VMLAT_VERSION);
	add_string(object, "kernel", check->kernel.release);
	add_string(object, "host", check->host);
	add_bool(object, "traceable", !check->obstacles.count);
	json_object_object_add(object, "obstacles", obstacle_list(&check->obstacles));
	add_bool(object, "btf", check->kernel.btf);
	add_bool(object, "kprobes", check->kernel.kprobes);
	add_bool(object, "preempt_rt", check->kernel.realtime);
	json_object_object_add(object, "modules", modules);
	json_object_object_add(object, "capabilities", capability_list(check));
	add_string(object, "open_vswitch", check->ovs.known ? check->ovs.version : NULL);
	json_object_object_add(object, "taps", tap_list(check));
	json_object_object_add(object, "nics", nic_list(check));
	add_bool(object, "tunnels", check->devices.tunnels.any);
	json_object_object_add(object, "tunnel_ports", tunnel_ports(&check->devices.tunnels));
	json_object_object_add(object, "hooks", hook_list(check));
	json_object_object_add(object, "not_told", lacks);
	json_object_object_add(object, "unseen", unseen_list(&check->unseen));
	json_object_object_add(object, "hidden", hidden);
	write_line(check->out, object);
}
