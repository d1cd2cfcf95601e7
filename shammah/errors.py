"""Every error a user can meet, each with its hint and exit code. Raised anywhere, shown once by the caller's edge.

    ShammahError               1  something failed; the message is one line, the hint is the next step
      UsageError               2  the call itself is wrong: bad option, empty prompt, unknown command
        ConfigError            2  config.toml, a SHAMMAH_* variable or a flag holds what it may not
        PromptTooLong          2  the prompt alone does not fit the model's context window
        RowError               2  a row of a file of examples can't be one, in words that follow its line number
      HomeError                1  the home folder cannot be made, read or written
      DiskFull                 1  no room left where something had to be written
      StoreError               1  the database cannot be used
        ExampleDamaged         1  what is stored of an example cannot be read
        StoreBusy              1  another program holds the database
        StoreTooNew            1  the database was written by a newer Shammah
      ModelError               1  the model cannot be used
        ModelNotFound          1  no model of that name, here or in reach
        ModelDamaged           1  its files are incomplete or not what was fetched
        FetchError             1  the download did not succeed
          Offline              1  a download would be needed, and offline was asked for
      DeviceError              1  the device asked for is not there, or its memory ran out
      AdapterError             1  no adapter of that name, or one that cannot be used
        AdapterDamaged         1  its files are incomplete or not what its manifest says
        AdapterMisfit          1  it was made for another model
        AdapterKnown           1  it is here already
        AdapterOvertaken       1  another one was taken into use meanwhile
      TrainingError            1  a training run failed
        TrainingBusy           1  another process trains in this home
        ExampleDeleted         1  what a run learns from was deleted while it ran
        TrainingCancelled      1  a training run was ended by the user or with the program
        TrainingUnstable       1  its numbers ran away; gentler settings may help
      Interrupted            130  Ctrl+C

To add one: subclass, document it here, give it a hint that names a command where one exists.
"""


class ShammahError(Exception):
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exception pickles its positional arguments only, which would lose the hint.
        return _rebuild, (type(self), self.message, self.hint)

    def __str__(self) -> str:
        return self.message

    def one_line(self) -> str:
        """What a user reads: the message and the next step, on one line."""
        message, hint = (" ".join(text.split()) for text in (self.message, self.hint))
        end = "" if message.endswith(("?", "!")) else "."
        return f"{message.rstrip('.')}{end} {hint}" if hint else message


def _rebuild(kind: type[ShammahError], message: str, hint: str) -> ShammahError:
    return kind(message, hint=hint)


class UsageError(ShammahError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class PromptTooLong(UsageError):
    pass


class RowError(UsageError):
    pass


class HomeError(ShammahError):
    pass


class DiskFull(ShammahError):
    pass


class StoreError(ShammahError):
    pass


class ExampleDamaged(StoreError):
    pass


class StoreBusy(StoreError):
    pass


class StoreTooNew(StoreError):
    pass


class ModelError(ShammahError):
    pass


class ModelNotFound(ModelError):
    pass


class ModelDamaged(ModelError):
    pass


class FetchError(ModelError):
    pass


class Offline(FetchError):
    pass


class DeviceError(ShammahError):
    pass


class AdapterError(ShammahError):
    pass


class AdapterDamaged(AdapterError):
    pass


class AdapterMisfit(AdapterError):
    pass


class AdapterKnown(AdapterError):
    pass


class AdapterOvertaken(AdapterError):
    pass


class TrainingError(ShammahError):
    pass


class TrainingBusy(TrainingError):
    pass


class ExampleDeleted(TrainingError):
    pass


class TrainingCancelled(TrainingError):
    pass


class TrainingUnstable(TrainingError):
    pass


class Interrupted(ShammahError):
    exit_code = 130

    def __init__(self, message: str = "Interrupted", *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
