"""Every rule: how grave it is, why it fails in the organizers' procedure, and the remedy.

The procedure is that of 2023: ``docker build -t NAME .`` with no build arguments, ``docker run -d
--gpus device=K -p 808i:80`` with no variables, volumes or arguments, up to ten tries of POST
/process 120 s apart, then HELM with 30 requests at once; stage 2 builds and trains it all again.
"""

from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


class Rule(NamedTuple):
    """A rule's severity, why it matters, and what to do."""

    severity: Severity
    why: str
    remedy: str


_BUILD = "`docker build -t NAME .` stops here"
_AGAIN = "stage 2 builds again weeks later and gets other versions; what does not reproduce is out"
_NO_ARGS = "organizers pass no build arguments and no variables"

RULES: dict[str, Rule] = {
    # the folder
    "no-dockerfile": Rule("error", "`docker build .` looks for exactly `Dockerfile`",
                          "add a file named Dockerfile"),
    "misnamed-dockerfile": Rule("error", "`docker build .` looks for exactly `Dockerfile`",
                                "rename it to Dockerfile; one folder a submission"),
    "several-dockerfiles": Rule("warning", "only ./Dockerfile is built, the others never are",
                                "give each submission a folder of its own with one Dockerfile"),
    "unsafe-name": Rule("error", "the folder's path becomes the image's name, and this is none",
                        "name the folder with a-z, 0-9, single - or _, beginning and ending "
                        "with a letter or digit"),
    "space-in-path": Rule("warning", "the organizers' scripts and COPY split paths at spaces",
                          "use - or _ instead of the space"),
    "unsafe-path": Rule("warning", "such a path does not survive every unzip, shell and COPY",
                        "use letters, digits, -, _ and . only"),
    "file-too-large": Rule("error", "GitHub, where submissions are handed in, takes no file over "
                           "100 MB", "download it at build or start, by revision and checksum"),
    "folder-too-large": Rule("warning", "every byte is sent as build context and cloned",
                             "leave data and results out, or list them in .dockerignore"),
    "environment-in-tree": Rule("warning", "it is bound to the machine and the path it was made "
                                "on, and every build is sent its thousands of files",
                                "delete it, or list it in .dockerignore; pip install in the "
                                "Dockerfile"),
    "weights-in-tree": Rule("error", "the rules want no weights in the repository",
                            "download them at build or start, by revision and checksum"),
    "lfs-pointer": Rule("error", "without `git lfs` the clone holds this pointer, not the file",
                        "download the file at build instead"),
    "empty-submodule": Rule("error", "the organizers copy the folder; submodules arrive empty",
                            "put the files in, or clone that commit in the Dockerfile"),
    # the Dockerfile as such
    "dockerfile-syntax": Rule("error", _BUILD, "correct the line"),
    "unknown-instruction": Rule("error", _BUILD, "begin shell commands with RUN, end a continued "
                                "line with \\"),
    "no-base-image": Rule("error", _BUILD, "begin with FROM image@sha256:digest"),
    "no-start-command": Rule("error", "`docker run NAME` has no command to start a server with",
                             "end with CMD [\"program\", \"argument\"]"),
    "overridden-command": Rule("warning", "only the last CMD or ENTRYPOINT runs",
                               "keep one; put several steps into one script"),
    "json-form": Rule("error", "the container does not start: the JSON form is run as it stands, "
                      "without a shell", "write [\"program\", \"argument\", …] in double quotes, "
                      "or plain shell text"),
    "ignored-command": Rule("warning", "ENTRYPOINT in shell form gets no CMD",
                            "write ENTRYPOINT in JSON form"),
    "inherited-entrypoint": Rule("error", "the base image's ENTRYPOINT takes CMD for its "
                                 "arguments; the container ends at once",
                                 "write ENTRYPOINT [] before CMD"),
    # base images
    "mutable-tag": Rule("error", _AGAIN, "name a version and a digest: image:tag@sha256:…"),
    "no-digest": Rule("warning", "a tag can be pushed again; " + _AGAIN,
                      "add the digest: image:tag@sha256:…"),
    "nightly": Rule("error", "nightly builds are deleted after weeks; the build then fails",
                    "take a release"),
    "bad-digest": Rule("error", _BUILD, "a digest is sha256: and 64 hex digits"),
    "wrong-platform": Rule("error", "the organizers' machines are linux/amd64",
                           "leave --platform out"),
    "unknown-stage": Rule("error", "no stage has this name, so an image of it is pulled",
                          "name the stage as after AS"),
    # variables
    "required-argument": Rule("error", _NO_ARGS, "give ARG a default"),
    "unresolved-variable": Rule("error", _NO_ARGS + ", so this is empty",
                                "set it by ENV or by ARG NAME=default in this stage"),
    "argument-out-of-scope": Rule("error", "an ARG before FROM is empty inside a stage",
                                  "repeat `ARG NAME` after FROM"),
    "missing-variable": Rule("error", "`docker run` passes no variables, so the server dies",
                             "set it by ENV, or read it with a default"),
    "build-secret": Rule("error", "`docker build` is given no secrets and no SSH agent",
                         "use public sources only"),
    "placeholder": Rule("error", "a placeholder was never filled in", "put in the real value"),
    # files
    "missing-source": Rule("error", _BUILD + ": COPY finds no such file",
                           "correct the path, or add the file"),
    "ignored-source": Rule("error", _BUILD + ": .dockerignore hides the file",
                           "take it out of .dockerignore"),
    "outside-context": Rule("error", _BUILD + ": only the folder itself is sent",
                            "move the file into the folder"),
    "destination-not-folder": Rule("error", _BUILD + ": several sources need a folder",
                                   "end the destination with /"),
    "used-before-copied": Rule("error", _BUILD + ": the file is not in the image at this point",
                               "COPY it before this line"),
    "missing-program": Rule("error", "the container stops at once: what it starts is not in it",
                            "COPY the file to the path that CMD names"),
    "missing-module": Rule("error", "the server dies at this import: the file is not copied",
                           "COPY it beside the file that imports it"),
    "missing-package": Rule("error", "the server dies at this import: no requirement brings the "
                            "package", "add it to the requirements, pinned with =="),
    "not-executable": Rule("error", "the container does not start: permission denied",
                           "chmod +x it (git keeps that), or start it through its interpreter"),
    "no-shebang": Rule("error", "the container does not start: exec format error",
                       "begin the script with #!/bin/sh"),
    "windows-line-ends": Rule("error", "Linux looks for an interpreter whose name ends in \\r",
                              "save the script with LF line ends"),
    "home-path": Rule("error", "the author's folders are not in the image",
                      "use a path inside the image"),
    # packages
    "shell-redirect": Rule("error", "the shell takes > and < for redirection: no version is asked "
                           "for, and a file is written or missing", "put quotes around it, or "
                           "better pin with =="),
    "unpinned-package": Rule("error", _AGAIN, "pin it with =="),
    "unpinned-tool": Rule("warning", _AGAIN, "pin it with =="),
    "unpinned-git": Rule("error", "the branch moves on; " + _AGAIN, "name a commit"),
    "unpinned-download": Rule("warning", "what a branch holds changes; " + _AGAIN,
                              "name a revision and check the SHA-256"),
    "unpinned-model": Rule("warning", "what the hub's main branch holds changes; " + _AGAIN,
                           "name the revision"),
    "unlocked-environment": Rule("warning", _AGAIN, "commit the lock file and install from it"),
    "moving-system": Rule("warning", _AGAIN, "leave it out; take a newer base image by digest"),
    "piped-install": Rule("warning", "a script that changes is run unseen; " + _AGAIN,
                          "download a version, check its SHA-256, then run it"),
    "missing-package-file": Rule("error", _BUILD + ": the file or folder is not there",
                                 "COPY it before installing from it"),
    "unpinned-requirement": Rule("error", _AGAIN, "pin it with =="),
    "interactive": Rule("error", "nobody answers the question, so it aborts", "add -y"),
    "no-package-list": Rule("error", _BUILD + ": the base image holds no package lists",
                            "run `apt-get update &&` in the same RUN"),
    "no-effect": Rule("warning", "each RUN is a shell of its own: the next one knows nothing of it",
                      "use WORKDIR or ENV, or join the commands with &&"),
    "needs-bash": Rule("error", "RUN is read by /bin/sh, which on Debian and Ubuntu is dash and "
                       "has no `source`", "use `.`, or SHELL [\"/bin/bash\", \"-c\"]"),
    "needs-sudo": Rule("error", _BUILD + ": base images have no sudo, and RUN is root anyway",
                       "leave sudo out"),
    "missing-tool": Rule("error", "the shell says `not found` and the build or the start ends",
                         "install it before, or take a base image that has it"),
    "gpu-at-build": Rule("error", "`docker build` has no GPU", "do it at start, not at build"),
    "server-at-build": Rule(
        "error",
        "RUN waits for the server to end, so the build never does",
        "start the server in CMD",
    ),
    "needs-compiler": Rule("warning", "this compiles CUDA code where the image has no nvcc",
                           "take a -devel base image, or install a prebuilt wheel"),
    # downloads
    "gated-model": Rule("error", "the hub asks for an accepted licence and a token, organizers "
                        "have neither", "publish your merged weights where no token is needed, or "
                        "name an open copy as fallback"),
    "needs-token": Rule("error", "organizers have no token of yours",
                        "make the files public and leave the token out"),
    "private-source": Rule("error", "the organizers' machine cannot reach or may not read it",
                           "use a public address"),
    "personal-storage": Rule("error", "such links ask for a click, have a quota and disappear",
                             "put the file on a model hub, with a revision"),
    "unused-download": Rule("warning", "the build fetches what nothing uses: is the right thing "
                            "served?", "use it, or leave it out"),
    "secret": Rule("error", "whoever reads the folder has it; hubs revoke it, and the build that "
                   "needs it fails", "revoke it now, and make the files public instead"),
    # serving
    "wrong-port": Rule("error", "organizers map container port 80 and nothing else",
                       "listen on port 80"),
    "wrong-expose": Rule("warning", "organizers map container port 80 and nothing else",
                         "EXPOSE 80, and listen there"),
    "local-only": Rule("error", "a server on 127.0.0.1 is not reached from outside the container",
                       "listen on 0.0.0.0"),
    "no-server": Rule("error", "the health check finds nothing on port 80",
                      "start the server in CMD"),
    "training-at-start": Rule("warning", "the health check gives up after 20 minutes",
                              "train beforehand and download the result"),
    "several-workers": Rule("warning", "each worker loads the model again: the GPU is full",
                            "one worker"),
    "ends-at-once": Rule(
        "error",
        "a container ends with its first process, and that puts the server behind it and ends",
        "start the server in the foreground: without &, best with exec",
    ),
    "wrong-device": Rule(
        "error",
        "`--gpus device=K` shows the container one GPU, whose number inside is 0",
        "use cuda:0, or leave the number out",
    ),
    "missing-artifact": Rule(
        "error",
        "the server dies at loading it: nothing copies, downloads or makes it",
        "download it at build or start, by revision and checksum",
    ),
    "no-process-route": Rule("error", "the health check passes on a 404, then every question fails",
                             "answer POST /process"),
    "missing-route": Rule("warning", "HELM asks for it to cut prompts that are too long",
                          "answer it as the contract says"),
    "python-syntax": Rule("error", "the server does not start", "correct the line"),
    "hadolint": Rule("warning", "hadolint says so", "see its documentation of that code"),
}  # fmt: skip
