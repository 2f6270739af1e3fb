// The script of the page "Front end". The server evaluates the flags; the SDK of OpenFeature
// requests their results. `make demo` bundles this file with the SDK.

import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const page = document.querySelector("[data-front-end]");
const pollInterval = Number(page.dataset.pollInterval);
const client = OpenFeature.getClient();
const responses = { all: 0, unchanged: 0, lastChange: 0 };

function showFlags() {
  for (const item of page.querySelectorAll("[data-flag]")) {
    const found = client.getBooleanDetails(item.dataset.flag, false);
    const state = item.querySelector(".state");
    state.textContent = found.value ? "on" : "off";
    state.classList.toggle("on", found.value);
    // OFREP has fewer reasons than OpenFeature: the others are in the metadata.
    const reason = found.errorCode ?? found.flagMetadata.reason ?? found.reason;
    item.querySelector("small").textContent = reason.toLowerCase().replaceAll("_", " ");
  }
}

/** Fetches as the provider does by default, and counts the responses. */
async function countingFetch(request, options) {
  const response = await fetch(request, options);
  responses.all += 1;
  if (response.status === 304) responses.unchanged += 1;
  if (response.status === 200) responses.lastChange = responses.all;
  page.querySelector("[data-responses]").textContent =
    `Responses: ${responses.all}, ${responses.unchanged} of them without a body (304). ` +
    `Number of the last change: ${responses.lastChange}.`;
  return response;
}

function start() {
  const provider = new OFREPWebProvider({
    baseUrl: "",
    pollInterval,
    // The next user of this browser must not start with the results of this one.
    cacheMode: "disabled",
    fetchImplementation: countingFetch,
  });
  // A provider whose first request fails sends no further requests.
  OpenFeature.setProviderAndWait(provider).catch(() => setTimeout(start, pollInterval));
}

client.addHandler(ProviderEvents.Ready, showFlags);
client.addHandler(ProviderEvents.ConfigurationChanged, showFlags);
start();
