// Follows a job by server-sent events, so that its page need not load itself again. Without this script it does.
"use strict";
(() => {
  const page = document.querySelector("[data-job]");
  if (!page || !window.EventSource) return;
  const bar = page.querySelector("progress");
  const sentence = page.querySelector("[data-sentence]");
  const percent = page.querySelector("[data-percent]");
  const source = new EventSource(page.dataset.job);
  source.addEventListener("progress", (event) => {
    const job = JSON.parse(event.data);
    bar.value = job.percent;
    sentence.textContent = job.sentence;
    percent.textContent = `${job.percent} %`;
    if (job.state !== "running") {
      source.close();
      window.location.reload();
    }
  });
})();
