"""Lessons in which people learn the morphology of cells.

`make_lesson` makes a lesson from a study, labelled images or synthetic cells; `open_lesson` opens
one, `LearnerSession` asks one learner, and `read_results` says what came of it. Importing this
package imports no network. What models learn from people is in `cytodiffusion.teaching`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cytodiffusion.lessons.answers import LessonAnswers as LessonAnswers
    from cytodiffusion.lessons.answers import answers_beside as answers_beside
    from cytodiffusion.lessons.lesson_file import Lesson as Lesson
    from cytodiffusion.lessons.lesson_file import open_lesson as open_lesson
    from cytodiffusion.lessons.make import make_lesson as make_lesson
    from cytodiffusion.lessons.result import LessonResult as LessonResult
    from cytodiffusion.lessons.result import read_results as read_results
    from cytodiffusion.lessons.session import LearnerSession as LearnerSession
    from cytodiffusion.lessons.settings import LessonSettings as LessonSettings

# Each is imported on its first use: the settings in this package need no network.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "answers": ["LessonAnswers", "answers_beside"],
        "lesson_file": ["Lesson", "open_lesson"],
        "make": ["make_lesson"],
        "result": ["LessonResult", "read_results"],
        "session": ["LearnerSession"],
        "settings": ["LessonSettings"],
    },
)
