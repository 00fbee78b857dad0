# The public face: what `import cytodiffusion as cd` offers, and where each name lives.
from .api.cells import classify as classify
from .api.cells import run as run
from .api.cells import segment as segment
from .api.evaluation import evaluate as evaluate
from .api.explanations import explain as explain
from .api.explanations import explain_class as explain_class
from .api.inputs import load_model as load_model
from .api.inputs import open_image as open_image
from .api.synthetic_cells import generate as generate
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
