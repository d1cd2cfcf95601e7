"""The model that learns: a twin of the one that answers, with an adapter of its own.

Everything training computes runs through this one, the base model's own replies too (with the adapter switched off), so
that one rule holds for all of it: before each layer and each part of one, forwards and backwards, it lets the chat go
first.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn
from transformers import PreTrainedModel

from shammah.errors import TrainingError
from shammah.model.device import is_out_of_memory
from shammah.model.lean_lora import put_on
from shammah.model.twin import is_quantised, twin_of, whole_bytes
from shammah.training.attention import use_packed_attention
from shammah.training.head import Head
from shammah.training.packing import Row, pack
from shammah.training.recipe import ALL_LINEAR, Recipe

Courtesy = Callable[[], None]
# Packed rows are filled up to a multiple of this: for every other length the libraries below make plans anew, and keep
# them all.
_LENGTHS = 32
# So many tokens are enough to see whether logits are made as they should be.
_TRIED = 16
# As the library's configurations call layers that are recurrent or look back a few tokens, whatever the mask says.
_WITH_A_STATE = {"linear_attention", "conv", "hybrid", "hybrid_sliding"}
# How far two ways to compute the same may be apart, relative to its size.
_ERROR = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 0.1}


class Learner:
    def __init__(
        self,
        network: PreTrainedModel,
        recipe: Recipe,
        courtesy: Courtesy = lambda: None,
        *,
        config: LoraConfig | None = None,
    ) -> None:
        """The adapter's shape follows from the recipe, or is that of another adapter's `config`."""
        self.network = twin_of(network)
        self.device = network.device
        self.config = config or lora_config(self.network, recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            _put_on(self.config, self.network)
        use_packed_attention(self.network)
        self._courtesy = courtesy
        # Called wherever the chat may go first: by whoever wants to know what happens inside of a step.
        self.watch: Callable[[], None] | None = None
        self._layers = [module for module in self.network.modules() if isinstance(module, BaseTunerLayer)]
        adapter = [p for name, p in self.network.named_parameters() if "lora_" in name]
        self.flat = FlatParameters(adapter, self.device)
        self.head = Head(self.network, self._stop_here)
        for module in _stops(self.network):
            module.register_forward_pre_hook(self._before)
            module.register_forward_hook(self._behind)
        self.packs = True
        self._is_base = self._recomputes = False
        self._window = attention_window(self.network)

    # Computing

    def learning(self, on: bool, *, dropping: bool = True) -> None:
        """Drop of the adapter's input what the recipe says, or nothing. The base's own layers never drop anything."""
        for layer in self._layers:
            layer.train(on and dropping)
        for block in decoder_layers(self.network) if self._recomputes else ():
            block.training = on  # itself alone: that is how the library knows when to recompute

    def recompute(self) -> None:
        """Keep only what goes into each decoder layer, and compute the rest again on the way back."""
        if not self.can_recompute:
            raise TrainingError(
                f"A {type(self.network).__name__} cannot compute its layers a second time",
                hint="Set lora.training.checkpointing = off.",
            )
        self._recomputes = True
        self.network.activation_checkpointing_enable()

    @property
    def can_recompute(self) -> bool:
        return bool(self.network.supports_gradient_checkpointing)

    @property
    def recomputes(self) -> bool:
        return self._recomputes

    def hidden(self, rows: Sequence[Row]) -> Tensor:
        """The last hidden states at the places that predict the rows' replies, row after row."""
        fits = all(len(row.ids) <= self._window for row in rows)
        return self._packed(rows) if self.packs and fits else self._padded(rows)

    @contextmanager
    def as_base(self) -> Iterator[None]:
        """With the adapter switched off: the base model, to the bit."""
        if self._is_base:
            yield
            return
        self._is_base = True
        for layer in self._layers:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            self._is_base = False
            for layer in self._layers:
                layer.enable_adapters(True)
            self.network.requires_grad_(False)
            self.flat.require_grad()

    def check_packing(self, rows: Sequence[Row]) -> None:
        """Try it once: a model that does not attend as it is told to computes its rows side by side instead.

        What hands on a state from token to token is not tried: a row alone would show nothing of it.
        """
        if hands_on_a_state(self.network):
            self.packs = False
            return
        few = sorted(rows, key=lambda row: len(row.ids))[:3]
        with torch.no_grad():
            alone = torch.cat([self._padded([row]) for row in few])
            try:
                together = self._packed(few)
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
                if is_out_of_memory(error):
                    raise
                self.packs = False  # it knows no mask of this kind
                return
        self.packs = _apart(together, alone) < _ERROR.get(together.dtype, 1e-2)

    def check_head(self, row: Row) -> Tensor:
        """Try it once: losses are computed from hidden states, so these must give the logits that the network gives.

        Returned are the network's own.
        """
        ids = torch.tensor([row.ids[:_TRIED]], device=self.device)
        with torch.no_grad():
            theirs: Tensor = self.network(input_ids=ids, use_cache=False).logits[0]
            ours = self.head(self.network.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0])
        same = ours.shape == theirs.shape and _apart(ours, theirs) < _ERROR.get(ours.dtype, 1e-2)
        if not same and torch.isfinite(theirs).all():
            raise TrainingError(
                f"A {type(self.network).__name__} makes its logits in a way that training cannot follow",
                hint="Train with another model: see `shammah models list`.",
            )
        return theirs

    def check_gradients(self) -> None:
        """Try it once: some quantised layers are made for answering alone, and let no gradient through to those before
        them."""
        for layer in self._layers if is_quantised(self.network) else ():
            base: Any = layer.get_base_layer()
            given = torch.ones(2, base.in_features, dtype=self.network.dtype, device=self.device, requires_grad=True)
            result = base(given)
            felt = torch.autograd.grad(result.sum(), given, allow_unused=True)[0] if result.requires_grad else None
            if felt is None or not felt.any():
                raise _quantised_too_far(self.network, "no gradient comes through its layers")

    def _packed(self, rows: Sequence[Row]) -> Tensor:
        batch = pack(rows)
        filler = -len(batch.ids) % _LENGTHS
        # A segment of its own: it sees itself, and nobody sees it.
        segments = torch.tensor([*batch.segments, *[-1] * filler], device=self.device)
        at = torch.arange(len(segments), device=self.device)
        seen = ((segments[:, None] == segments[None, :]) | (segments[None, :] == 0)) & (at[:, None] >= at[None, :])
        mask = torch.zeros(seen.shape, dtype=self.network.dtype, device=self.device)
        mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)
        output = self.network.get_decoder()(
            input_ids=torch.tensor([[*batch.ids, *[0] * filler]], device=self.device),
            position_ids=torch.tensor([[*batch.positions, *[0] * filler]], device=self.device),
            attention_mask=mask[None, None],
            use_cache=False,
        )
        states: Tensor = output.last_hidden_state[0]
        return states[torch.tensor(batch.predictors, device=self.device)]

    def _padded(self, rows: Sequence[Row]) -> Tensor:
        longest = max(len(row.ids) for row in rows)
        ids = torch.tensor([[*row.ids, *[0] * (longest - len(row.ids))] for row in rows], device=self.device)
        lengths = torch.tensor([len(row.ids) for row in rows], device=self.device)
        mask = torch.arange(longest, device=self.device)[None, :] < lengths[:, None]
        output = self.network.get_decoder()(input_ids=ids, attention_mask=mask.long(), use_cache=False)
        states: Tensor = output.last_hidden_state
        return torch.cat([states[place, row.start - 1 : len(row.ids) - 1] for place, row in enumerate(rows)])

    def _stop_here(self) -> None:
        if self.watch is not None:
            self.watch()
        self._courtesy()

    def _before(self, module: nn.Module, args: Any) -> None:
        self._stop_here()

    def _behind(self, module: nn.Module, args: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        if isinstance(states, Tensor) and states.requires_grad:
            states.register_hook(self._backwards)  # type: ignore[no-untyped-call]

    def _backwards(self, grad: Tensor) -> None:
        self._stop_here()

    # The adapter

    def weaken(self, strength: float) -> None:
        """Let so much of it count, from 0 to 1."""
        layers: list[Any] = [layer for layer in self._layers if hasattr(layer, "scaling")]
        for layer in layers:
            layer.scaling = {name: strength * scaling for name, scaling in layer.scaling.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The adapter as peft's files hold it, by the names they use."""
        # Left to decide by itself whether embeddings belong to it, peft asks the hub about the base.
        found = get_peft_model_state_dict(self.network, adapter_name=_ADAPTER, save_embedding_layers=False)
        return {f"{PREFIX}{name}": tensor.detach().clone().contiguous() for name, tensor in found.items()}


_ADAPTER = "default"
# What peft's files write before the name of each tensor.
PREFIX = "base_model.model."


def lora_config(network: nn.Module, recipe: Recipe) -> LoraConfig:
    known = linear_names(network)
    names = known if recipe.targets == ALL_LINEAR else [name.strip() for name in recipe.targets.split(",")]
    paths = [f".{path}" for path, module in network.named_modules() if module in _linear_layers(network)]
    missing = [name for name in names or ["Linear"] if not any(path.endswith(f".{name}") for path in paths)]
    if missing:
        raise TrainingError(
            f"The model has no linear layer {missing[0]!r}",
            hint=f"Set lora.targets to {ALL_LINEAR!r} or some of: {', '.join(known)}."
            if known
            else "Train with another model.",
        )
    return LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=recipe.dropout,
        target_modules=names,
        task_type="CAUSAL_LM",
    )


def _put_on(config: LoraConfig, network: PreTrainedModel) -> None:
    try:
        put_on(config, network)
    except (ValueError, ImportError) as error:
        if is_quantised(network):
            raise _quantised_too_far(network, "there is no adapter for layers of this kind") from error
        raise TrainingError(f"There is no adapter for this model: {error}", hint="Train with another model.") from error


def _quantised_too_far(network: PreTrainedModel, why: str) -> TrainingError:
    """What is in the way, and what it would cost to go round it."""
    layers = (getattr(module, "base_layer", module) for module in _linear_layers(network))
    kinds = sorted({type(layer).__name__ for layer in layers} - {"Linear"})
    return TrainingError(
        f"This model cannot be trained as it was quantised{f' ({kinds[0]})' if kinds else ''}: {why}",
        hint="Use -m with the same model before it was quantised. To train on that while this one answers, it would "
        f"have to be loaded beside it: {whole_bytes(network) / 1e6:,.0f} MB more memory in bfloat16.",
    )


def linear_names(network: nn.Module) -> list[str]:
    """The last names of all linear layers inside the decoder's layers, each once."""
    linear = _linear_layers(network)
    return list(dict.fromkeys(path.rpartition(".")[2] for path, m in network.named_modules() if m in linear))


def _linear_layers(network: nn.Module) -> set[nn.Module]:
    """Those of quantised models need not be torch's own."""
    inside = [module for layer in decoder_layers(network) for module in layer.modules()]
    found: set[nn.Module] = {module for module in inside if isinstance(module, nn.Linear)}
    if is_quantised(network) or not found:
        found |= {module for module in inside if hasattr(module, "in_features") and hasattr(module, "out_features")}
    return found


def decoder_layers(network: Any) -> list[nn.Module]:
    decoder = network.get_decoder()
    layers = getattr(decoder, "layers", None) or getattr(decoder, "h", None)
    if layers is None:
        lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList)]
        layers = max(lists, key=len, default=())
    return list(layers)


def _stops(network: nn.Module) -> list[nn.Module]:
    """Where the chat may go first: the decoder's layers and what they are made of, attention and feed-forward.

    The parts are asked when a layer is computed again, too; the library then leaves out what hangs on the layer itself.
    """
    linear = _linear_layers(network)
    found = []
    for layer in decoder_layers(network):
        found += [layer, *(part for part in layer.children() if linear.intersection(part.modules()))]
    return found


def bytes_of_a_token(network: PreTrainedModel) -> int:
    """About what is kept of one token until its gradients are made: what goes into and comes out of each product inside
    the layers. What norms and rests keep beside that comes to what products that share their input save."""
    layers: set[Any] = set(_linear_layers(network))
    return int(sum(layer.in_features + layer.out_features for layer in layers)) * network.dtype.itemsize


def attention_window(network: PreTrainedModel) -> float:
    """How many tokens back every layer sees; told what to attend to, as packed rows are, some forget that limit."""
    config = network.config.get_text_config(decoder=True)
    limits = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((limit for limit in limits if limit), default=math.inf)


def hands_on_a_state(network: PreTrainedModel) -> bool:
    """Whether some layers do more than to attend, which no mask keeps within a row."""
    config = network.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    return bool(network._is_stateful or kinds & _WITH_A_STATE)


def _apart(one: Tensor, other: Tensor) -> float:
    """How far two rows of numbers are apart at the worst of their places, relative to their length."""
    one, other = one.float(), other.float()
    return float(((one - other).norm(dim=-1) / other.norm(dim=-1).clamp(min=1e-6)).max())


class FlatParameters:
    """All numbers of an adapter as one vector, and their gradients as another: the small tensors are views of it.

    One step of the optimizer, one norm, one file, instead of hundreds.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], device: torch.device) -> None:
        self._parameters = list(parameters)
        self.values = nn.Parameter(torch.cat([p.detach().float().reshape(-1) for p in parameters]).to(device))
        self.values.grad = torch.zeros_like(self.values)
        at = 0
        for parameter in self._parameters:
            size = parameter.numel()
            parameter.data = self.values.data[at : at + size].view(parameter.shape)
            parameter.grad = self.values.grad[at : at + size].view(parameter.shape)
            at += size
        self.require_grad()

    def require_grad(self) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(True)

    def clear_grad(self) -> None:
        assert self.values.grad is not None
        self.values.grad.zero_()

    def divide_grad(self, by: float) -> None:
        assert self.values.grad is not None
        if by != 1:
            self.values.grad /= by

    def digest(self) -> str:
        return hashlib.sha256(self.values.detach().cpu().numpy().tobytes()).hexdigest()

    @property
    def has_finite_grad(self) -> bool:
        assert self.values.grad is not None
        return bool(torch.isfinite(self.values.grad).all())

    def load(self, values: Tensor) -> None:
        with torch.no_grad():
            self.values.copy_(values)
