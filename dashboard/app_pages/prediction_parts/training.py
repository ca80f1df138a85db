"""The detectors of a category: read, or trained when asked for; of drawings at once."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from corrcore import networks, store
from corrcore.cli.evaluate import field_arguments
from corrcore.concurrency import Progress
from corrcore.datasets.records import KeypointDataset
from corrcore.experiments import Context, DetectorTraining
from corrcore.experiments.detectors import Trained, most_objects
from corrcore.features import Extractor, Feature
from corrcore.tasks import detection
from corrcore.tasks.detection import Prior, TrainedDetectors
from corrcore.wording import counted
from dashboard.parts import job_panel, pickers, result_panel
from dashboard.services import caches, processes, sessions
from dashboard.wording import rough_duration, sentence

TRAINING_S = 1.3  # per object, by AlexNet on two cores


@dataclass(frozen=True, eq=False)
class Learnt:
    """Detectors and prior of a category, and what they were learnt from; `state` names all that they depend on."""

    source: str
    data: KeypointDataset
    category: str
    network: Extractor
    context: Context
    training: DetectorTraining
    state: str
    trained: Trained

    @property
    def names(self) -> tuple[str, ...]:
        """The category's keypoints."""
        return tuple(self.data.keypoint_names[self.category])

    @property
    def detectors(self) -> dict[Feature, TrainedDetectors]:
        """Detectors by feature; the network's comes last."""
        return dict(self.trained[0])

    @property
    def prior(self) -> Prior:
        """The train objects that give the prior."""
        return self.trained[1]

    @property
    def own(self) -> Feature:
        """The network's feature."""
        return list(self.detectors)[-1]

    @property
    def detectors_file(self) -> str:
        """What the file of the network's detectors is called."""
        return f"detectors {self.category} {self.network.name} {self.own.key}.safetensors"

    def detectors_content(self) -> bytes:
        """The network's detectors as they are kept on disk."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "detectors.safetensors"
            own = self.detectors[self.own]
            detection.save_detectors(file, own.detectors, own.about)
            return file.read_bytes()


def learn(source: str, data: KeypointDataset, category: str, network: Extractor) -> Learnt:
    """Detectors and prior; while there are none the page stops, with what makes them shown."""
    context = caches.context(source, network.name)
    try:
        training = DetectorTraining(source, category, network=network.name).resolved(context)
        state = store.key(settings=[training.settings(feature, context) for feature in training.feature_list])
        trained = _have_trained(data, training, context, state)
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()
    if trained is None:
        st.stop()
    return Learnt(source, data, category, network, context, training, state, trained)


def _have_trained(data: KeypointDataset, training: DetectorTraining, context: Context, state: str) -> Trained | None:
    category, key = training.category, ("detectors", state)
    label = f"Training detectors of {category}"
    files = [training.file(what, context) for what in (*(each.key for each in training.feature_list), "prior")]

    def here(*, progress: Progress) -> Trained:
        return training.train(context, progress=progress)

    def known() -> Trained | None:
        """What is kept, read again only where files have changed; else what this session's work has made."""
        there = [file for file in files if file is not None and file.exists()]
        stamps = tuple((file.name, file.stat().st_mtime_ns) for file in there)
        found = caches.detectors().get((state, stamps), lambda: training.known(context))
        job = sessions.long_job(key)
        return found or (None if job is None else job.result)

    if data.synthetic:
        return known() or job_panel.view(here, label, key)
    n = min(len(data.visible_instances(category, "train")), most_objects(data))
    why = ""
    if training.outdated(context):
        why = "Those that are here are of other photos, or of another version of the code. "
    elif training.begun(context):
        why = "Training was begun, and goes on where it was. "
    larger = "" if training.network == networks.DEFAULT else f", several times as long by {training.network}"
    return result_panel.result_panel(
        f"Detectors of {category} have to be trained first",
        f"{why}By {' and '.join(each.title for each in training.feature_list)}, on "
        f"{counted(n, 'train object')}, with the weight of the prior chosen by cross validation. That takes about "
        f"{rough_duration(TRAINING_S * n)} by AlexNet on two cores{larger}, once; it can be stopped and goes on where it "
        "was. "
        f"`corrcore train detectors --data {pickers.shell_dataset(training.dataset)} "
        f'--categories "{category}" --network {training.network}` does it too.',
        key,
        processes.of_command(lambda: ["train", "detectors", *field_arguments(training)], here),
        read=known,
        button="Train",
        label=label,
    )
