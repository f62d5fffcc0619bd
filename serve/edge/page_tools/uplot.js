// The charts, apart from vendor.js: views without charts need not wait for them.
export { default as UPlot } from "uplot";
