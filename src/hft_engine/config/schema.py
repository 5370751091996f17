"""The configuration: frozen, closed structs, one home for every default. Units are in the names.

An unknown key, a wrong type or a value out of range is refused by ``config.load`` with its key path.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(gt=0)]
NonNegative = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Period = Annotated[int, Meta(ge=2, le=128)]  # indicator windows; 128 = kernels.WINDOW_MAX
Port = Annotated[int, Meta(ge=0, le=65535)]
ClockTime = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
WaitName = Literal["spin", "yield", "park", "sleep", "auto"]
Layout = Literal["dedicated", "compact", "inline"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Url = Annotated[str, Meta(pattern=r"^(wss?|https?)://")]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,23}$")]
TaskName = Literal["peak_detection", "entry_timing", "market_regime"]  # of learn.tasks
Channel = Literal["T", "Q", "A", "AM", "D", "FMV", "LULD"]


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ActorTuning(_Section, frozen=True):
    """How one actor waits and where it runs. Empty ``cpus`` means anywhere.

    ``realtime``: before everything of normal priority on its core (SCHED_FIFO), where this user may; it has to sleep.
    """

    wait: WaitName = "auto"
    cpus: tuple[NonNegative, ...] = ()
    realtime: bool = False


class EngineConfig(_Section, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")] = "hft"
    layout: Layout = "dedicated"
    run_root: str | None = None  # None: /dev/shm where there is one, else the temporary directory
    data_dir: str = "data"
    log_dir: str = "logs"
    log_level: LogLevel = "INFO"
    instruments_max: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    actors: dict[str, ActorTuning] = {}  # by role


class ReconnectConfig(_Section, frozen=True):
    """First retry at once, then capped exponential backoff with full jitter."""

    immediate: bool = True  # False: also the first retry waits
    initial_ms: Positive = 500
    factor: Annotated[float, Meta(ge=1.0, le=10.0)] = 2.0
    cap_ms: Positive = 30_000
    stable_reset_ms: Positive = 60_000  # LIVE this long before the backoff starts afresh
    connection_cap_cooldown_ms: Positive = 60_000  # after the venue said max_connections
    attempts_max: NonNegative = 0  # 0 = never give up


class PollConfig(_Section, frozen=True):
    """How a venue that is polled is asked; the calls are all that the feed makes of it."""

    every_ms: Positive = 60_000  # between two questions for the same symbol, where the limits below let it
    calls_per_second: Positive = 1
    calls_per_minute: Positive = 5
    calls_per_day: NonNegative = 25  # in any 24 hours; 0 = no limit
    bar_stamp: Literal["start", "end"] = "start"  # what the time of a minute bar names


class HealthConfig(_Section, frozen=True):
    """From when on data are not as they should be; docs/health.md has the formulas."""

    ticks: bool = True  # states go on the tick ring; False: they are shown, and nothing else heeds them
    # always | "HH:MM-HH:MM Zone", Monday to Friday | an exchange's code, needs the extra hft-engine[calendar]
    session: str = "09:30-16:00 America/New_York"
    quantile: Annotated[float, Meta(gt=0.5, lt=1.0)] = (
        0.99  # of the time between ticks, learned for each channel
    )
    step: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.1  # of the learning: how far one time moves it
    samples_min: Positive = 50  # times learned from before silence means anything
    resolution_ms: Positive = 10  # what comes closer together is one burst
    quiet_factor: Annotated[float, Meta(ge=1.0)] = 3.0  # silent for so many quantiles: QUIET
    quiet_min_ms: Positive = 1_000  # and at least so long
    stale_factor: Annotated[float, Meta(ge=1.0)] = 8.0  # STALE
    stale_min_ms: Positive = 5_000
    lag_ms: Positive = 1_000  # later than the least delay by so much: LAGGING
    lag_stale_ms: Positive = 10_000  # STALE
    lag_window_ms: Positive = 600_000  # the least delay is that of one to two windows
    crossed_ms: Positive = 1_000  # bid above ask for so long: STALE
    recover_ms: NonNegative = 1_000  # LAGGING and worse end when nothing has spoken for them for so long
    gapped_hold_ms: NonNegative = 10_000  # GAPPED lasts so long from the gap on, unless it is repaired before
    repaired_hold_ms: NonNegative = 10_000  # so long it is told that data were repaired
    limit_state_ms: Positive = 15_000  # at a price band for so long: a trading pause, until a trade
    audit_tolerance: Fraction = 0.01  # of a minute's volume: the venue's bar and its trades may differ by it


class RepairConfig(_Section, frozen=True):
    """Bars in whose windows something is missing are asked for from the vendor's REST side."""

    spans: tuple[Literal["second", "minute"], ...] = ("second", "minute")  # () = nothing is asked for
    settle_ms: NonNegative = 5_000  # after a window's end, when the vendor has its bar
    calls_per_s: Annotated[float, Meta(gt=0.0, le=100.0)] = 5.0
    timeout_ms: Positive = 10_000  # of one call
    attempts: Annotated[int, Meta(ge=1, le=10)] = 3  # of one request, before a later one


class LineConfig(_Section, frozen=True):
    """A connection beside the one that ``feed`` describes; None = as there (of another venue: the venue's own)."""

    venue: str | None = None
    url: Url | None = None
    delayed_url: Url | None = None
    map: str | None = None
    api_key: str | None = None
    channels: tuple[Channel, ...] | None = None
    symbols: tuple[str, ...] | None = None
    mirrors: str | None = (
        None  # the line whose instruments it brings as well: of each tick the first copy counts
    )


class FeedConfig(_Section, frozen=True):
    """The line ``main``, and what holds for all lines."""

    venue: str = "polygon"  # a name of feed.venues
    url: Url | None = None  # None: the venue's own
    delayed_url: Url | None = None  # None: the venue's own, where it has one
    fallback_delayed: bool = True  # where the plan has no real-time data: go on with the delayed data
    map: str | None = None  # of venue generic: a file, or the name of a map that comes with the engine
    poll: PollConfig = PollConfig()  # of venues that are polled
    api_key: str = ""  # better: the venue's variable in the environment or .env, see config.load
    channels: tuple[Channel, ...] = ("T", "Q", "AM")
    symbols: tuple[str, ...] = ("AAPL", "MSFT")
    connect_timeout_ms: Positive = 10_000
    auth_timeout_ms: Positive = 10_000
    quiet_after_ms: Positive = 2_000  # no frame this long: QUIET, a ping is sent
    dead_after_ms: Positive = 4_500  # neither frame nor pong this long: DEAD, reconnect; found within 5 s
    ping_every_ms: NonNegative = 15_000  # also while frames come; 0 = only when QUIET
    frame_bytes_max: Positive = 1_000_000
    quarantine_bytes_max: Positive = 16_000_000
    # contiguous: the venue numbers each channel of an instrument without gaps of its own, so each missing one is known
    sequence: Literal["increasing", "contiguous"] = "increasing"
    # A socket not found empty for so long is emptied: market data that wait there are counted and left out. 0 = never
    shed_after_ms: NonNegative = 0
    scanner: bool = True  # plain frames by compiled code; False: all by the general decoder
    reconnect: ReconnectConfig = ReconnectConfig()
    health: HealthConfig = HealthConfig()
    rest_url: Annotated[str, Meta(pattern=r"^https?://")] | None = None  # None: the vendor's where ``url`` is
    repair: RepairConfig = RepairConfig()
    lines: dict[Name, LineConfig] = {}  # more connections, by name


class IndicatorConfig(_Section, frozen=True):
    """Periods count trades for ``tick_*`` features and bars of ``bar`` for ``bar_*`` features."""

    bar: Literal["second", "minute", "ticks"] = "second"
    ticks_per_bar: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    late_after_ms: NonNegative = 100  # a quiet instrument's bar closes this long after its end, in event time
    session_start_utc: ClockTime = "05:00"  # daily reset of VWAP: between US sessions all year round
    sma: Period = 20
    ema_fast: Period = 12
    ema_slow: Period = 26
    macd_signal: Period = 9
    rsi: Period = 14
    bollinger: Period = 20
    bollinger_width: Annotated[float, Meta(gt=0.0, le=10.0)] = 2.0
    atr: Period = 14
    volatility: Period = 20
    size_window: Period = 64
    extensions: tuple[str, ...] = ()  # "package.module:function" or "file.py:function", see examples/
    # None: every built-in feature. Else only these and what is computed along with them: the others stay NaN, and
    # rules, models and extensions must do without them. The values of those that are computed are the same.
    features: tuple[str, ...] | None = None


class EnsembleConfig(_Section, frozen=True):
    """One more output, called ``ensemble``, of outputs of the models: docs/models.md has the formulas."""

    outputs: tuple[str, ...]  # such as entry_timing, "not peak_detection", market_regime.trend_up
    method: Literal["average", "weighted", "stacking"] = "average"
    weights: tuple[float, ...] = ()  # one an output, of weighted and stacking
    intercept: float = 0.0  # of stacking


class InferenceConfig(_Section, frozen=True):
    model: str | None = None  # path of a LightGBM text model, its metadata beside it as <path>.meta.json
    models: tuple[str, ...] = ()  # several of them, in one pass, instead of ``model``
    ensemble: EnsembleConfig | None = None
    # A record is counted as out of distribution where more than this share of the features that the models use lies
    # outside the range that they had in training.
    out_of_distribution_above: Fraction = 0.1
    # ticks: model and rules see every trade and quote. bars: an instrument only at its first trade or quote with a new
    # bar (of ``indicators.bar``) in its features: the trade that closes the bar, or the first tick after event time
    # closed it. Other ticks move indicators and bars and go no further.
    evaluate: Literal["ticks", "bars"] = "ticks"
    deadline_ms: NonNegative = 0  # predictions later than this after the frame are dropped; 0 = never
    conflate_above: NonNegative = (
        0  # so many features waiting: only each instrument's newest goes on; 0 = never
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the models, however they were named."""
        return self.models if self.model is None else (self.model,)


class LearningConfig(_Section, frozen=True):
    """What is learned, and how. A row is an instrument's bar of ``indicators.bar``, or a stored bar."""

    prediction_horizon: Annotated[int, Meta(ge=1, le=10_000)] = 5  # rows ahead
    min_training_samples: Annotated[int, Meta(ge=20)] = 100  # rows with a label; fewer are refused
    folds: Annotated[int, Meta(ge=2, le=50)] = 5  # of the walk-forward
    embargo: NonNegative = 5  # rows between what is learned from and what is tested
    cost_bps: Annotated[float, Meta(ge=0.0)] = 1.0  # of what is traded, one way, in 1/10,000
    entry_label: Literal["triple_barrier", "fixed_horizon"] = "triple_barrier"
    barrier_width: Annotated[float, Meta(gt=0.0)] = 1.0  # times the usual move over the horizon
    peak_prominence: Annotated[float, Meta(gt=0.0)] = (
        1.5  # times the usual move over ``indicators.volatility`` rows
    )
    peak_reach: Annotated[int, Meta(ge=2, le=10_000)] = (
        60  # rows on either side that a peak must stand out from
    )
    trees_max: Annotated[int, Meta(ge=1, le=5_000)] = 300
    early_stopping: Annotated[int, Meta(ge=1)] = 30  # trees without progress on the newest rows
    leaves: Annotated[int, Meta(ge=2, le=1_024)] = 4  # more learn what was chance: docs/models.md
    leaf_rows_min: Annotated[int, Meta(ge=1)] = 50
    learning_rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.05
    feature_fraction: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8  # of the features, drawn for each tree
    bagging_fraction: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8  # of the rows, drawn for each tree
    lambda_l2: Annotated[float, Meta(ge=0.0)] = 1.0  # how much leaves are drawn towards zero
    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    seed: NonNegative = 7
    # Rows near in time are not independent: they count once a block of so many times ``prediction_horizon`` rows.
    block_horizons: Annotated[int, Meta(ge=1, le=1_000)] = 20
    live: bool = False  # models learn beside the running engine: roles ``trainer`` and ``shadow``
    tasks: tuple[TaskName, ...] = ("peak_detection", "entry_timing", "market_regime")  # of the trainer
    interval_s: Annotated[int, Meta(ge=5)] = 3_600  # from training to training
    cycle_limit_s: Positive = 1_800  # a training that takes longer is ended and counted
    memory_mb: Annotated[int, Meta(ge=256)] = 2_048  # data of the training process, and of the shadow
    rows_max: Annotated[int, Meta(ge=1_000)] = 200_000  # learned from, the newest
    earlier_sessions: NonNegative = (
        3  # that are learned from too, the newest, until there are ``rows_max`` rows
    )
    gate_effect: Annotated[float, Meta(ge=0.1, le=2.0)] = (
        0.5  # mean gain of a block over its deviation that the gate is to find, four times in five
    )


class RuleConfig(_Section, frozen=True):
    """One row of the rule table. It fires when ``feature`` crosses ``enter`` and re-arms past ``release``.

    ``feature`` is a name of the feature set, ``probability`` (the first output of the first model),
    ``probability_down`` (one minus it), or an output of any model (``config.outputs``).
    Strength is 0.5 at ``enter`` and 1 at ``full``, linear, clipped.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    feature: str
    side: Literal["buy", "sell"]
    when: Literal["above", "below"]
    enter: float
    release: float
    full: float


DEFAULT_RULES = (
    RuleConfig(
        name="model_up", feature="probability", side="buy", when="above", enter=0.7, release=0.65, full=1.0
    ),
    RuleConfig(
        name="model_down",
        feature="probability_down",
        side="sell",
        when="above",
        enter=0.7,
        release=0.65,
        full=1.0,
    ),
    RuleConfig(
        name="rsi_oversold", feature="bar_rsi", side="buy", when="below", enter=25.0, release=35.0, full=5.0
    ),
    RuleConfig(
        name="rsi_overbought",
        feature="bar_rsi",
        side="sell",
        when="above",
        enter=75.0,
        release=65.0,
        full=95.0,
    ),
)


class SignalsConfig(_Section, frozen=True):
    strength_min: Fraction = 0.5  # weaker signals are counted, not published
    cooldown_ms: NonNegative = 1_000  # per instrument and side, in event time
    expiry_ms: Positive = 5_000
    rules: tuple[RuleConfig, ...] = DEFAULT_RULES


class RiskConfig(_Section, frozen=True):
    """What an order is refused for, before it is sent. Sizes in units of the instrument, money in its currency."""

    order_size_max: Annotated[float, Meta(gt=0.0)] = 10_000.0
    order_notional_max: Annotated[float, Meta(gt=0.0)] = 1_000_000.0
    position_max: Annotated[float, Meta(gt=0.0)] = 10_000.0  # of an instrument, all its open orders filled
    collar_bps: Annotated[float, Meta(gt=0.0)] = 500.0  # distance from the last price, in 1/10,000
    signal_age_max_ms: Positive = 1_000  # in event time
    working_max: Annotated[int, Meta(ge=1, le=256)] = 64  # open orders of the account
    loss_max: Annotated[float, Meta(ge=0.0)] = 0.0  # of the run, fees included: latches; 0 = no limit


class ExecutionConfig(_Section, frozen=True):
    """A strategy and the paper broker that fills its orders; the same for live, replay and backtest."""

    strategy: str = "follow"  # follow | ema_cross | "file.py:Class" | "package.module:Class"
    parameters: dict[str, float] = {}  # of the strategy
    cash: Annotated[float, Meta(gt=0.0)] = 1_000_000.0
    price_tick: Annotated[float, Meta(gt=0.0)] = 0.0001  # prices are whole multiples of it
    size_tick: Annotated[float, Meta(gt=0.0)] = 1.0  # quantities are whole multiples of it
    latency_ms: NonNegative = 10  # event time from a decision until the venue knows of it
    fee_per_unit: Annotated[float, Meta(ge=0.0)] = 0.005
    fee_bps: Annotated[float, Meta(ge=0.0)] = 0.0  # of the notional, in 1/10,000
    half_spread_bps: Annotated[float, Meta(ge=0.0)] = 1.0  # paid by a market order where no quote is known
    queue: Literal["through", "estimate"] = (
        "through"  # when a waiting limit order fills, see docs/backtest.md
    )
    equity_every_ms: Positive = 60_000  # event time between two samples of the equity curve
    risk: RiskConfig = RiskConfig()


class PersistenceConfig(_Section, frozen=True):
    journal: bool = True
    journal_segment_mb: Annotated[int, Meta(ge=1, le=4_096)] = 256
    journal_flush_ms: Positive = 200
    journal_compress: Literal["none", "zstd"] = "none"  # closed segments; needs the extra hft-engine[zstd]
    journal_keep_mb: NonNegative = 0  # of all sessions together; the oldest segments go first; 0 = no limit
    journal_keep_days: NonNegative = 0  # segments last written longer ago go; 0 = no limit
    sqlite: bool = True
    sqlite_file: str = "market_data.db"  # inside data_dir
    sqlite_commit_ms: Positive = 500
    feature_sample: NonNegative = 0  # one of so many live feature vectors is kept, for `hft parity`; 0 = none
    feature_sample_mb: Positive = 1_000  # of one session; then no more are kept


class CheckpointsConfig(_Section, frozen=True):
    """How often the stages' state is kept; 0 = never. See docs/decisions/0010-checkpoints.md."""

    memory_ms: NonNegative = 1_000  # in the run's directory: what a stage killed goes on from
    disk_ms: NonNegative = 5_000  # in the session's: what `hft start --resume` goes on from


class PublisherConfig(_Section, frozen=True):
    """Where signals and events are published for programs outside, besides the run directory's socket."""

    tcp: str | None = None  # "127.0.0.1:5556"; another address than loopback needs both CURVE keys
    curve_public_key: str | None = None
    curve_secret_key: str | None = None
    curve_client_keys_dir: str | None = None  # allowed clients' public keys; None with keys = any client


class RingsConfig(_Section, frozen=True):
    """Capacity of each ring in records, a power of two."""

    ticks: Positive = 262_144
    bars: Positive = 16_384
    features: Positive = 16_384
    predictions: Positive = 16_384
    signals: Positive = 65_536
    orders: Positive = 16_384
    fills: Positive = 16_384


class SupervisorConfig(_Section, frozen=True):
    restarts_max: NonNegative = 3
    restart_window_s: Positive = 60
    heartbeat_limit_ms: Positive = 1_000  # older: the actor is shown as hung
    hang_kill_ms: Positive = 3_000  # older still: killed and restarted
    start_deadline_ms: Positive = 60_000
    stop_deadline_ms: Positive = 5_000  # of one actor; all together have 15 s


class SimulatorConfig(_Section, frozen=True):
    """The venue of ``--demo`` and of ``hft sim``."""

    port: Port = 0  # 0 = any free one
    api_key: str = "demo"
    source: str = "synthetic"  # or a recorded file
    scenario: str = ""  # what goes wrong: a shipped one or a file, docs/simulators.md; "" = nothing
    speed: Annotated[float, Meta(ge=0.0)] = 1.0  # of a recorded file: 1 = real time, 0 = as fast as possible
    seed: NonNegative = 7
    instruments: Annotated[int, Meta(ge=1, le=10_000)] = 50
    ticks_per_s: Annotated[float, Meta(gt=0, le=1_000_000)] = 2_000.0  # mean over the day's intensity curve
    events_per_frame_max: Positive = 64


class Config(_Section, frozen=True):
    engine: EngineConfig = EngineConfig()
    feed: FeedConfig = FeedConfig()
    indicators: IndicatorConfig = IndicatorConfig()
    inference: InferenceConfig = InferenceConfig()
    learning: LearningConfig = LearningConfig()
    signals: SignalsConfig = SignalsConfig()
    execution: ExecutionConfig | None = None  # set: a strategy trades on paper
    persistence: PersistenceConfig = PersistenceConfig()
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    publisher: PublisherConfig = PublisherConfig()
    rings: RingsConfig = RingsConfig()
    supervisor: SupervisorConfig = SupervisorConfig()
    simulator: SimulatorConfig | None = None  # set: the engine runs its own demo venue and connects to it
