"""The instruments stand beside the stack and measure it: stopwatch, tracer, PTX reader, widgets."""
