# The public face: what `import cytodiffusion as cd` offers, and where each name lives.
from .api import classify as classify
from .api import evaluate as evaluate
from .api import explain as explain
from .api import explain_class as explain_class
from .api import generate as generate
from .api import load_model as load_model
from .api import open_image as open_image
from .api import run as run
from .api import segment as segment
from .baselines.baseline import Baseline as Baseline
from .classification.settings import ClassifySettings as ClassifySettings
from .counterfactual.explain import Explanation as Explanation
from .counterfactual.explain_class import ClassExplanation as ClassExplanation
from .counterfactual.settings import HeatmapSettings as HeatmapSettings
from .errors import BundleError as BundleError
from .errors import Cancelled as Cancelled
from .errors import CytoDiffusionError as CytoDiffusionError
from .errors import DownloadNeeded as DownloadNeeded
from .errors import InputError as InputError
from .errors import OutOfMemoryError as OutOfMemoryError
from .evaluation.report import Evaluation as Evaluation
from .evaluation.settings import EvaluateSettings as EvaluateSettings
from .generation.cells import GeneratedCells as GeneratedCells
from .generation.order import GenerationSettings as GenerationSettings
from .image.image import Image as Image
from .model.bundle import ModelBundle as ModelBundle
from .pipeline import Analysis as Analysis
from .pipeline import CellResults as CellResults
from .segmentation.result import Segmentation as Segmentation
from .study.study import Study as Study

__version__: str
