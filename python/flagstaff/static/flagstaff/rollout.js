// Each step button writes its percentage into the rollout input beside it.
"use strict";

document.addEventListener("click", (event) => {
    const step = event.target.closest("[data-flagstaff-steps] button");
    if (!step) {
        return;
    }
    const input = document.getElementById(step.parentElement.dataset.flagstaffSteps);
    input.value = step.value;
    input.focus();
    input.dispatchEvent(new Event("input", {bubbles: true}));
});
