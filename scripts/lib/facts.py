"""What an image layout or a store says of an image, from its documents alone.

usage: facts.py ROOT NAME    NAME: as in index.json; `-` for the only image there is

Prints the digest of the manifest, the ID (digest of the configuration), the layers' blobs and the diff IDs.
"""

import hashlib
import json
import os
import sys


def main():
    root, name = sys.argv[1:]

    def blob(descriptor):
        with open(os.path.join(root, "blobs/sha256", descriptor["digest"][7:]), "rb") as file:
            data = file.read()
        if "sha256:" + hashlib.sha256(data).hexdigest() != descriptor["digest"]:
            sys.exit("%s is damaged" % descriptor["digest"])
        return json.loads(data)

    with open(os.path.join(root, "index.json"), encoding="utf-8") as file:
        entries = json.load(file)["manifests"]
    for entry in entries:
        if name in ("-", entry.get("annotations", {}).get("org.opencontainers.image.ref.name")):
            manifest = blob(entry)
            print("manifest", entry["digest"])
            print("id", manifest["config"]["digest"])
            print("blobs", *[layer["digest"] for layer in manifest["layers"]])
            print("kinds", *[layer["mediaType"] for layer in manifest["layers"]])
            print("diff", *blob(manifest["config"])["rootfs"]["diff_ids"])
            return
    sys.exit("%s has no image %s" % (root, name))


if __name__ == "__main__":
    main()
