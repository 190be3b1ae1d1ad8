"""The vision-language model: loading, hooks, the logit lens, and the process that serves it. Imports torch."""
