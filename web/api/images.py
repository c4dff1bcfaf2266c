"""Images that guests are made from."""

from typing import Any

from apiflask import APIBlueprint

from policies.vocabulary import Action
from vault.operations import images
from web import long_work
from web.api.inputs import ImageImport, ImageName, ViewQuery
from web.guard import caller
from web.site import site

routes = APIBlueprint("images", __name__, url_prefix="/api/v1/images")


@routes.get("")
@routes.input(ViewQuery, location="query", arg_name="asked")
def list_images(asked: ViewQuery) -> dict[str, Any]:
    """List the images."""
    return images.list_images(site(), caller(), asked.view)


@routes.post("/build")
@routes.input(ImageName, arg_name="asked")
def build_image(asked: ImageName) -> tuple[dict[str, Any], int]:
    """Build an image from its distribution's archive: a job."""
    return long_work.view(long_work.start(Action.IMAGE_BUILD, asked.name, {"name": asked.name})), 202


@routes.post("/import")
@routes.input(ImageImport, arg_name="asked")
def import_image(asked: ImageImport) -> tuple[dict[str, Any], int]:
    """Import a disk image that lies on the daemon's machine: a job."""
    return long_work.view(long_work.start(Action.IMAGE_IMPORT, asked.name, asked.model_dump())), 202


@routes.post("/<name>/verify")
def verify_image(name: str) -> dict[str, Any]:
    """Compare an image's files with the digests noted when it was made."""
    return images.verify_image(site(), caller(), name)
