"""Which number the next version of a model has."""

from cytodiffusion.study import Study
from cytodiffusion.teaching import next_version


def test_a_thorough_training_keeps_its_number(tmp_path):
    with Study.create(tmp_path / "study") as study:
        models = study.folder / "models"
        assert next_version(study) == (1, models / "v1")
        (models / "v1").mkdir(parents=True)
        assert next_version(study, deep=True)[0] == 2
        (models / "v2.run").mkdir()  # it goes on, or was stopped
        assert next_version(study)[0] == 3
        assert next_version(study, deep=True)[0] == 2
        (models / "v3").mkdir()
        assert next_version(study)[0] == 4
        (models / "v2.run").rename(models / "v2")  # it has ended
        assert next_version(study, deep=True)[0] == 4
