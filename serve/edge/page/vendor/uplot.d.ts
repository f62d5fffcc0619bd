// What uplot.js exports; the types come with the package.
export { default as UPlot } from "uplot";
