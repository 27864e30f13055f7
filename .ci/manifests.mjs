// Each document of each file, as the model of its kind: what the schema doesn't know or doesn't allow is an error.
import fs from "node:fs";
import yaml from "yaml";

const HOMES = { "keda.sh": "@kubernetes-models/keda" };

async function model({ apiVersion, kind }) {
    const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
    const home = HOMES[group] ?? "kubernetes-models";
    return (await import(`${home}/${apiVersion}/${kind}`))[kind];
}

let checked = 0;
let faults = 0;
for (const file of process.argv.slice(2)) {
    for (const document of yaml.parseAllDocuments(fs.readFileSync(file, "utf8"), { strict: true, uniqueKeys: true })) {
        try {
            if (document.errors.length) throw document.errors[0];
            const manifest = document.toJS();
            const Model = await model(manifest);
            new Model(manifest).validate();
            checked += 1;
        } catch (error) {
            console.error(`${file}: ${document.get("kind")}: ${error.message}`);
            faults += 1;
        }
    }
}
console.log(`${checked} manifests are as their schemas say`);
process.exit(faults ? 1 : 0);
