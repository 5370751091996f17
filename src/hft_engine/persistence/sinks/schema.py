"""The tables of the market-data database. A change here raises ``SCHEMA_VERSION`` and needs a migration.

Times are UTC nanoseconds, NULL is what was NaN in the record. ``sequence`` is the record's sequence in its
ring (of a venue bar: in the tick ring), so (run_id, sequence) names it for ever and writing it twice changes
nothing.
"""

SCHEMA_VERSION = 3
APPLICATION_ID = 0x48465445  # "HFTE": marks the file as ours in its header

TABLES = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, started_ns INTEGER NOT NULL, venue TEXT NOT NULL,
    config_hash TEXT NOT NULL, code_version TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE bars (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, symbol TEXT NOT NULL, kind TEXT NOT NULL,
    ts_start_ns INTEGER NOT NULL, ts_end_ns INTEGER NOT NULL,
    open REAL, high REAL, low REAL, close REAL, volume REAL, vwap REAL,
    trade_count INTEGER NOT NULL, late_count INTEGER NOT NULL, flags INTEGER NOT NULL,
    source_sequence INTEGER NOT NULL, PRIMARY KEY (run_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX bars_by_symbol ON bars (symbol, kind, ts_start_ns);
CREATE TABLE venue_bars (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, symbol TEXT NOT NULL, kind TEXT NOT NULL,
    ts_start_ns INTEGER NOT NULL, ts_venue_ns INTEGER NOT NULL,
    open REAL, high REAL, low REAL, close REAL, volume REAL, vwap REAL,
    day_volume REAL, day_vwap REAL, day_open REAL, PRIMARY KEY (run_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX venue_bars_by_symbol ON venue_bars (symbol, kind, ts_start_ns);
CREATE TABLE signals (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    rule TEXT NOT NULL, strength REAL NOT NULL, price REAL, value REAL, probability REAL,
    model_id INTEGER NOT NULL, ts_venue_ns INTEGER NOT NULL, ts_recv_ns INTEGER NOT NULL,
    ts_expiry_ns INTEGER NOT NULL, latency_ns INTEGER NOT NULL, chain_hash TEXT NOT NULL,
    source_sequence INTEGER NOT NULL, PRIMARY KEY (run_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX signals_by_symbol ON signals (symbol, ts_venue_ns);
CREATE TABLE events (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, ts_ns INTEGER NOT NULL, role TEXT NOT NULL,
    kind TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run_id, sequence)
) STRICT, WITHOUT ROWID;
"""

# Since version 2. Prices, quantities and money in currency and units; the rings have them as whole ticks.
TRADING_TABLES = """
CREATE TABLE orders (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, symbol TEXT NOT NULL, order_id INTEGER NOT NULL,
    side TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    quantity REAL NOT NULL, filled REAL NOT NULL, limit_price REAL, price REAL,
    ts_venue_ns INTEGER NOT NULL, ts_arrival_ns INTEGER NOT NULL, ts_expiry_ns INTEGER,
    signal_sequence INTEGER, source_sequence INTEGER NOT NULL, PRIMARY KEY (run_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_id ON orders (run_id, order_id);
CREATE TABLE fills (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, symbol TEXT NOT NULL, order_id INTEGER NOT NULL,
    side TEXT NOT NULL, liquidity TEXT NOT NULL, price REAL NOT NULL, quantity REAL NOT NULL, fee REAL NOT NULL,
    realised REAL NOT NULL, position REAL NOT NULL, cash REAL NOT NULL, ts_venue_ns INTEGER NOT NULL,
    signal_sequence INTEGER, chain_hash TEXT NOT NULL, source_sequence INTEGER NOT NULL,
    PRIMARY KEY (run_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX fills_by_symbol ON fills (symbol, ts_venue_ns);
"""

# Since version 3: every change of an instrument's data health; names of the ``records`` enumerations in lower case.
HEALTH_TABLE = """
CREATE TABLE health (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, symbol TEXT NOT NULL, channel TEXT NOT NULL,
    state TEXT NOT NULL, before TEXT NOT NULL, cause TEXT NOT NULL, unfit INTEGER NOT NULL,
    ts_recv_ns INTEGER NOT NULL, gap_from_ns INTEGER, gap_to_ns INTEGER, lag_ns INTEGER NOT NULL,
    silence_ns INTEGER NOT NULL, missing INTEGER NOT NULL, PRIMARY KEY (run_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX health_by_symbol ON health (symbol, ts_recv_ns);
"""
MIGRATIONS = {1: TRADING_TABLES, 2: HEALTH_TABLE}  # from this version to the next

_ONCE = "ON CONFLICT (run_id, sequence) DO NOTHING"
INSERTS = {
    "bars": f"INSERT INTO bars VALUES ({','.join('?' * 16)}) {_ONCE}",
    "venue_bars": f"INSERT INTO venue_bars VALUES ({','.join('?' * 15)}) {_ONCE}",
    "signals": f"INSERT INTO signals VALUES ({','.join('?' * 16)}) {_ONCE}",
    "orders": f"INSERT INTO orders VALUES ({','.join('?' * 17)}) {_ONCE}",
    "fills": f"INSERT INTO fills VALUES ({','.join('?' * 16)}) {_ONCE}",
    "health": f"INSERT INTO health VALUES ({','.join('?' * 14)}) {_ONCE}",
    "events": f"INSERT INTO events VALUES (?,?,?,?,?,?) {_ONCE}",
    "runs": "INSERT INTO runs VALUES (?,?,?,?,?) ON CONFLICT (run_id) DO NOTHING",
}

# The last word on a bar stays.
REVISE_BARS = (
    "DELETE FROM bars WHERE run_id = ? AND symbol = ? AND kind = ? AND ts_start_ns = ? AND sequence < ?"
)
