"""A stand-in for torchvision: the names that `import timm` looks up there, and nothing that works.

timm's nets need nothing of torchvision, yet timm imports it for its data loaders. The real package has to
match torch's build, which a test environment cannot promise; the tests take timm's nets only, and get this
package where the real one is missing (see `tests.standins.timm_loader`).
"""
