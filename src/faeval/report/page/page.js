"use strict";
(async () => {
  const { config, figures } = JSON.parse(document.getElementById("specs").textContent);
  const status = document.getElementById("status");
  const drawn = new Map();
  window.faeval = { drawn, failed: [], done: false };

  const whole = (spec, extra) => ({
    ...spec,
    params: [{ name: "hidden", value: [] }],
    width: "container",
    autosize: { type: "fit", contains: "padding" },
    config: { ...config, ...extra },
  });

  // The page has legends that the keyboard reaches; a saved figure needs one of its own.
  async function save(id) {
    const { spec, view, hidden } = drawn.get(id);
    const own = { ...whole(spec, {}), width: Math.max(360, Math.round(view.width())), autosize: "pad" };
    const { view: copy } = await vegaEmbed(document.createElement("div"), own, { renderer: "svg", actions: false });
    await copy.signal("hidden", [...hidden]).runAsync();
    const colours = getComputedStyle(document.documentElement);
    const svg = (await copy.toSVG()).replace(/var\((--[\w-]+)\)/g, (_, name) => colours.getPropertyValue(name).trim());
    copy.finalize();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    link.download = `${id}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    status.textContent = `Saved ${id}.svg`;
  }

  async function toggle(id, button) {
    const { view, hidden } = drawn.get(id);
    const name = button.dataset.series;
    const shown = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!shown));
    if (shown) hidden.add(name); else hidden.delete(name);
    await view.signal("hidden", [...hidden]).runAsync();
    status.textContent = `${name} ${shown ? "hidden" : "shown"}`;
  }

  for (const figure of document.querySelectorAll("figure.chart")) {
    const spec = figures[figure.id];
    try {
      const { view } = await vegaEmbed(
        figure.querySelector(".canvas"),
        whole(spec, { legend: { ...config.legend, disable: true } }),
        { renderer: "svg", actions: false, mode: "vega-lite" },
      );
      drawn.set(figure.id, { spec, view, hidden: new Set() });
      figure.querySelector(".save").addEventListener("click", () => save(figure.id));
      for (const button of figure.querySelectorAll(".legend button"))
        button.addEventListener("click", () => toggle(figure.id, button));
    } catch (error) {
      window.faeval.failed.push(figure.id);
      console.error(figure.id, error);
    }
  }
  window.faeval.done = true;
})();
