// OpenFeature's web provider in Node.js, against a server. Prints what it has returned, as JSON.

const { createRequire } = require("node:module");

const [packages, baseUrl] = process.argv.slice(2);
const load = createRequire(`${packages}/`);
const { OpenFeature } = load("@openfeature/web-sdk");
const { OFREPWebProvider } = load("@openfeature/ofrep-web-provider");
const { OFREPApi } = load("@openfeature/ofrep-core");

/** Connects a client with these headers, and waits for so many responses. */
async function connected(name, headers, count) {
  const statuses = [];
  let done;
  const enough = new Promise((resolve) => { done = resolve; });
  const fetchImplementation = async (request, options) => {
    const response = await fetch(request, options);
    statuses.push(response.status);
    if (statuses.length === count) done();
    return response;
  };
  const options = { baseUrl, headers, fetchImplementation, pollInterval: 50, cacheMode: "disabled" };
  await OpenFeature.setProviderAndWait(name, new OFREPWebProvider(options)).catch(() => {});
  await enough;
  const client = OpenFeature.getClient(name);
  const details = (key) => client.getBooleanDetails(key, true);
  const state = client.providerStatus;
  // Asks again, unless the server has set a time to wait.
  await OpenFeature.setContext(name, {});
  return { statuses, state, hidden: details("beta_reviews"), shown: details("new_checkout") };
}

async function main() {
  const single = (key) => new OFREPApi({ baseUrl }).postEvaluateFlag(key, { context: {} });
  const { httpStatus, value } = await single("beta_reviews");
  const found = {
    browser: await connected("browser", [], 2),
    wrong: await connected("wrong", [["X-API-Key", "wrong"]], 1),
    limited: await connected("limited", [["X-Limited", "1"]], 1),
    single: await single("new_checkout").then((one) => [one.httpStatus, one.value.value]),
    singleHidden: [httpStatus, value.errorCode],
  };
  console.log(JSON.stringify(found));
  await OpenFeature.close();
}

main();
