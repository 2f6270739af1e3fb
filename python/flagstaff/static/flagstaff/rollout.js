// The steps beside a rollout put their number into it.
"use strict";

document.addEventListener("click", (event) => {
    const step = event.target.closest("[data-flagstaff-steps] button");
    if (!step) {
        return;
    }
    const input = document.getElementById(step.parentElement.dataset.flagstaffSteps);
    input.value = step.value;
    input.focus();
});
