"""A loaded model and its handlers, one for each kind of request. Imports torch only when it loads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vlmscope.core.base.callbacks import OnLoading, Stopped
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.images import crop_jpeg, crop_side, fitted, load_image, png, seen_part
from vlmscope.core.worker.interventions import (
    AttributionAnswer,
    AttributionRequest,
    CaptionAnswer,
    CaptionRequest,
    FiringAnswer,
    FiringRequest,
    InterventionAnswer,
    InterventionRequest,
    PeakAnswer,
    PeakRequest,
    SampleRef,
    WrittenAnswer,
    WrittenRequest,
)
from vlmscope.core.worker.messages import (
    DescribeAnswer,
    DescribeRequest,
    LensAnswer,
    LensRequest,
    MapAnswer,
    MapRequest,
    Message,
    ModelSpec,
    PromotedAnswer,
    PromotedRequest,
    Request,
    SegmentAnswer,
    SegmentRequest,
    VectorAnswer,
    VectorRequest,
)

if TYPE_CHECKING:
    from vlmscope.core.model.clean import Sample, Samples
    from vlmscope.core.model.intervene import Interventions
    from vlmscope.core.model.segmentation import Segmentation
    from vlmscope.core.model.vlm import Vlm


#: Answers a request of the type that it stands for; long work reads ``stopped`` now and then, and raises ``Cancelled``.
Handler = Callable[[Any, Stopped], Message]
CROP_SIDE = 1024  #: pixels of the longer side of a crop that is sent without loss, or searched; others are made smaller


class Engine(Protocol):
    """A loaded model: a handler for each type of request."""

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]: ...

    def free(self) -> None:
        """Give back memory that is only cached, and models beside the inspected one."""


class VlmEngine:
    """The handlers on a real model.

    They raise UsageError for a neuron that the model does not have and for a lens without words, SamplesError for a
    picture or a description that cannot be used, and ModelError for a detector or segmenter that cannot be loaded.
    """

    def __init__(self, vlm: "Vlm", spec: ModelSpec) -> None:
        self.vlm = vlm
        self.spec = spec
        self._segmentation: Segmentation | None = None
        self._samples: Samples | None = None
        self._interventions: Interventions | None = None
        self.handlers: dict[type[Request[Any]], Handler] = {
            MapRequest: self.map,
            DescribeRequest: self.describe,
            PromotedRequest: self.promoted,
            VectorRequest: self.vector,
            LensRequest: self.lens,
            SegmentRequest: self.segment,
            CaptionRequest: self.caption,
            AttributionRequest: self.attribution,
            FiringRequest: self.firing,
            InterventionRequest: self.intervene,
            WrittenRequest: self.written,
            PeakRequest: self.peak,
        }

    def map(self, request: MapRequest, stopped: Stopped) -> MapAnswer:
        """Exact activations of one neuron over one sample."""
        from vlmscope.core.model.maps import neuron_maps

        neuron = request.neuron.check_within(self.vlm.layers, self.vlm.neurons)
        image = load_image(Path(request.image))
        encoded = self.vlm.encode(request.prompt, request.description, image.size)
        inputs = self.vlm.inputs([encoded], [image])
        visual, text = neuron_maps(self.vlm, self.spec.hook, neuron, encoded, inputs, stopped)
        crop = png(fitted(self.vlm.crop(image), CROP_SIDE)) if request.crop else b""
        return MapAnswer.of(request, visual, encoded.layout, text, crop)

    def describe(self, request: DescribeRequest, stopped: Stopped) -> DescribeAnswer:
        """The model's own answer to a question about a picture."""
        image = load_image(Path(request.image))
        prompt = self.vlm.prompt(request.question)
        description = self.vlm.describe([image], prompt, stopped)[0]
        tokens = self.vlm.encode(prompt, description, image.size).tokens if description else ()
        layout, seen = self.vlm.sees(image.size)
        crop = crop_jpeg(seen_part(image, seen), crop_side(layout.grid))
        return DescribeAnswer(request.image, request.question, prompt, description, tokens, crop, seen)

    def promoted(self, request: PromotedRequest, stopped: Stopped) -> PromotedAnswer:  # noqa: ARG002 (over at once)
        """Which tokens a neuron promotes."""
        from vlmscope.core.model.promoted import promoted

        return promoted(self.vlm, request.neuron.check_within(self.vlm.layers, self.vlm.neurons), request.count)

    def vector(self, request: VectorRequest, stopped: Stopped) -> VectorAnswer:  # noqa: ARG002 (over at once)
        """What a neuron writes."""
        neuron = request.neuron.check_within(self.vlm.layers, self.vlm.neurons)
        column = self.vlm.ffns[neuron.layer].down_column(neuron.unit).detach().float().cpu().numpy()
        return VectorAnswer(column if neuron.sign > 0 else -column)

    def lens(self, request: LensRequest, stopped: Stopped) -> LensAnswer:
        """What the model would say at each position of a sample, of a few words."""
        from vlmscope.core.model.lens import lens

        image = load_image(Path(request.image))
        encoded = self.vlm.encode(request.prompt, request.description, image.size)
        inputs = self.vlm.inputs([encoded], [image])
        columns, visual, text = lens(self.vlm, encoded, inputs, request.words, stopped)
        return LensAnswer(request.image, request.sample, columns, visual, text)

    def caption(self, request: CaptionRequest, stopped: Stopped) -> CaptionAnswer:
        """The model's own words for a picture, with edits in every step."""
        from vlmscope.core.model.captions import captions

        for edit in request.edits:
            edit.neuron.check_within(self.vlm.layers, self.vlm.neurons)
        image = load_image(Path(request.image))
        return CaptionAnswer(captions(self.vlm, image, request.prompt, [request.edits], request.at, stopped)[0])

    def attribution(self, request: AttributionRequest, stopped: Stopped) -> AttributionAnswer:
        """What the removal of each neuron does to one token's log-odds, to first order."""
        from vlmscope.core.model.attribution import attribution

        sample = self._sample(request.sample, stopped)
        return AttributionAnswer(attribution(self.vlm, sample.encoded, sample.clean, request.token, stopped))

    def firing(self, request: FiringRequest, stopped: Stopped) -> FiringAnswer:
        """All neurons at one place of a sample."""
        from vlmscope.core.model.firing import firing, place_positions

        sample = self._sample(request.sample, stopped)
        positions = place_positions(sample.encoded, request.visual, request.text, request.before)
        return FiringAnswer(*firing(self.vlm, self.spec.hook, sample.clean, positions, stopped))

    def intervene(self, request: InterventionRequest, stopped: Stopped) -> InterventionAnswer:
        """What rows of edits do to the description's tokens."""
        from vlmscope.core.model.intervene import Interventions

        for edit in (edit for row in request.rows for edit in row):
            edit.neuron.check_within(self.vlm.layers, self.vlm.neurons)
            if edit.source is not None:
                Neuron(edit.neuron.layer, edit.source).check_within(self.vlm.layers, self.vlm.neurons)
        if self._interventions is None:
            self._interventions = Interventions(self.vlm)
        sample = self._sample(request.sample, stopped)
        return self._interventions.intervene(sample, request.rows, request.at, request.tokens, stopped)

    def written(self, request: WrittenRequest, stopped: Stopped) -> WrittenAnswer:
        """How much every neuron writes on a sample."""
        from vlmscope.core.model.edits import Places
        from vlmscope.core.model.written import written

        sample = self._sample(request.sample, stopped)
        places = Places.of_sample(request.at, sample.encoded)
        return WrittenAnswer(*written(self.vlm, sample.clean, places, stopped), self.vlm.column_norms)

    def peak(self, request: PeakRequest, stopped: Stopped) -> PeakAnswer:
        """One neuron's z at one token."""
        from vlmscope.core.model.firing import place_positions

        neuron = request.neuron.check_within(self.vlm.layers, self.vlm.neurons)
        sample = self._sample(request.sample, stopped)
        visual, text = (() if place is None else (place,) for place in (request.visual, request.text))
        position = place_positions(sample.encoded, visual, text, before=False)[0]
        z = sample.clean.written(self.vlm.ffns[neuron.layer], neuron.layer).z
        return PeakAnswer(float(z[0, position, neuron.unit]))

    def _sample(self, sample: SampleRef, stopped: Stopped) -> "Sample":
        from vlmscope.core.model.clean import Samples

        if self._samples is None:
            self._samples = Samples(self.vlm)
        return self._samples.get(sample, stopped)

    def segment(self, request: SegmentRequest, stopped: Stopped) -> SegmentAnswer:
        """Where the things are that phrases name, on the crop that the model sees."""
        from vlmscope.core.model.segmentation import Segmentation

        image = load_image(Path(request.image))
        if self._segmentation is None:
            self._segmentation = Segmentation(self.vlm.device)
        # Masks have the crop's size, one for each box: a photograph's would take much memory.
        crop, grid = fitted(self.vlm.crop(image), CROP_SIDE), self.vlm.sees(image.size)[0].grid
        return self._segmentation.segment(request, crop, grid, stopped)

    def free(self) -> None:
        """Give back memory that is only cached: clean passes, the detector and the segmenter."""
        import torch

        if self._samples is not None:
            self._samples.clear()
        self._segmentation = None
        torch.cuda.empty_cache()


def load_vlm(spec: ModelSpec, report: OnLoading) -> VlmEngine:
    """Load the model that ``spec`` names.

    Raises:
        ModelError: if it cannot be loaded.
    """
    report("importing torch and transformers")
    from vlmscope.core.model.devices import keep_freed_memory
    from vlmscope.core.model.load import load

    keep_freed_memory()
    return VlmEngine(load(spec, report), spec)
