// Lints the OpenAPI document on standard input, and prints one line for each problem.
import { createConfig, lintFromString } from "@redocly/openapi-core";

let source = "";
for await (const chunk of process.stdin) source += chunk;
const config = await createConfig({
  extends: ["recommended-strict"],
  rules: {
    "info-license": "off", // the service's own choice
    "no-path-trailing-slash": "off", // the service's own choice, too: the petstore's addresses end so
  },
});
for (const problem of await lintFromString({ source, absoluteRef: "openapi.json", config })) {
  console.log(problem.ruleId, problem.message, problem.location[0]?.pointer);
}
