"""Which build of a bundle a back end runs, and that nobody runs an unproven one by accident."""

from __future__ import annotations

from apsam_serve.contract.manifest import Build, Bundle, Form
from apsam_serve.errors import BackendUnavailableError, UnverifiedBuildError
from apsam_serve.runtime.base import RunnerOptions


def pick(bundle: Bundle, options: RunnerOptions, *, forms: tuple[Form, ...]) -> Build:
    """The build that the options name, or the first of these forms.

    Raises BundleError for a name that is not there, BackendUnavailableError for a form that the
    back end does not run, UnverifiedBuildError for a build that has not passed its gate.
    """
    builds, name = bundle.manifest.builds, options.build
    usable = [known for known, build in builds.items() if build.form in forms]
    if name:
        bundle.build(name)
    if not usable or (name and name not in usable):
        asked = f"build {name!r} is {builds[name].form}" if name else "no build is"
        raise BackendUnavailableError(
            f"{asked} in {bundle.path}, this back end runs {' or '.join(forms)}; the bundle has "
            + ", ".join(f"{known} ({build.form})" for known, build in builds.items())
        )
    chosen = name or usable[0]
    build = builds[chosen]
    if not build.gate.passed and not options.allow_unverified:
        passed = [known for known in usable if builds[known].gate.passed]
        others = f"choose {' or '.join(passed)}, " if passed else ""
        raise UnverifiedBuildError(
            f"build {chosen!r} of {bundle.path} has not passed its gate "
            f"({build.gate.detail}); run apsam-export --verify --record on this machine, {others}"
            "or accept the risk with --allow-unverified"
        )
    return build
