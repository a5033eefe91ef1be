"""The values of renewal: what a row is, what was asked for, what was observed, what is decided, and how the row ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.stored import Ownership, Restart, StoredToken
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType, Secret, ServiceId, owner_of

_LONGEST_TEXT = 500


class Action(StrEnum):
    """What the plan asks for."""

    KEEP = "keep"
    RENEW = "renew"
    REWRITE = "rewrite"  # deliver a token that was issued before
    PROVE = "prove"  # ask Azure whether the stored token is this gateway's, and plan again
    TAKE_OVER = "take_over"  # write the ownership beside a value of somebody else
    RESTART = "restart"
    WAIT = "wait"  # for what is under way, or for a person
    REFUSE = "refuse"


class Reason(StrEnum):
    """Why. Stable names, in the order in which they are checked: log queries and the runbook use them."""

    PAUSED = "paused"
    NOT_STORED = "not_stored"
    OWNED_BY_ANOTHER = "owned_by_another"
    NOT_OWNED = "not_owned"
    WRITE_CONFLICT = "write_conflict"
    EXPIRED = "expired"
    TO_BE_PROVED = "to_be_proved"
    NOT_PROVED = "not_proved"
    ADOPTED = "adopted"
    DEAD = "dead"
    REVOKED = "revoked"
    FORCED = "forced"
    FEW_RUNS_LEFT = "few_runs_left"
    IN_RENEWAL_WINDOW = "in_renewal_window"
    TAKEN_OVER = "taken_over"
    WRONG_KEY = "wrong_key"
    KEY_DUE = "key_due"
    WRONG_FORM = "wrong_form"
    RESTART_DUE = "restart_due"
    NOT_RESTARTED = "not_restarted"
    RESTARTING = "restarting"
    NOT_PICKED_UP = "not_picked_up"
    RESTART_UNVERIFIED = "restart_unverified"
    WAITING_FOR_WORKLOAD = "waiting_for_workload"
    FRESH = "fresh"
    # Not planned, but found on the way.
    NOT_READ = "not_read"  # reading the destination failed
    NOT_LISTED = "not_listed"  # listing the service's gateways failed
    GATEWAY_GONE = "gateway_gone"  # the service has no such gateway


@dataclass(frozen=True, slots=True)
class ManagedGateway:
    """A gateway whose token is kept fresh, and the rule that says how and where."""

    ref: GatewayRef
    service: ServiceId
    rule: GatewayRule

    @property
    def owner(self) -> str:
        """What the ownership beside a stored token says when it is this gateway's."""
        return owner_of(self.service, self.ref.gateway)


@dataclass(frozen=True, slots=True)
class RowId:
    """A row: a gateway's token at one location. Its text is stable over runs."""

    ref: GatewayRef
    location: str

    def __str__(self) -> str:
        return f"{str(self.ref).casefold()} -> {self.location}"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run was asked for beside what is due."""

    asked_at: datetime
    issued_before: datetime | None = None  # renew what was issued before this
    expires_before: datetime | None = None  # renew what expires by then
    picked_up: bool = True  # False: Azure says that the gateway still runs an older token
    key_type: KeyType | None = None  # move to this key at once: the other one is revoked
    waits: bool = False  # an event asks: what it asks for waits for windows, as what is due does


@dataclass(frozen=True, slots=True)
class Proof:
    """Azure's answer on a stored token: the key that signs it, or None when it is no key's of this gateway.

    `at` is when it was given, and `fingerprint` that of the stored value; without them it is not remembered.
    """

    key_type: KeyType | None
    at: datetime | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """One row as it was read, with Azure's proof if it was asked for."""

    gateway: ManagedGateway
    settings: DestinationSettings
    stored: StoredToken | None
    proof: Proof | None = None
    wanted_key: KeyType = KeyType.PRIMARY  # the key that the gateway's tokens are to be signed with
    key_due: bool = False  # it is another than the one in use, because that one is due for rotation

    @property
    def id(self) -> RowId:
        """Which row it is."""
        return RowId(self.gateway.ref, self.settings.location(self.gateway.ref))

    @property
    def value(self) -> Secret | None:
        """The whole value that is stored."""
        return self.stored.value if self.stored else None

    @property
    def token(self) -> GatewayToken | None:
        """The token that is stored."""
        return self.stored.token if self.stored else None

    @property
    def restart(self) -> Restart | None:
        """How far the gateway's workloads run what is stored, where that can be told."""
        return self.stored.restart if self.stored else None

    @property
    def ownership(self) -> Ownership | None:
        """The ownership beside it, if it is this very value's."""
        return self.stored.owned if self.stored else None

    @property
    def key_type(self) -> KeyType | None:
        """The key that signs the stored token, as far as that is known."""
        if self.ownership:
            return self.ownership.key_type
        return self.proof.key_type if self.proof else None


@dataclass(frozen=True, slots=True)
class Decision:
    """An action, its reason, and a sentence for people.

    `staged`: it goes a few gateways at a time. `urgent`: it does not wait for a window or the end of a freeze.
    """

    action: Action
    reason: Reason
    message: str
    staged: bool = False
    urgent: bool = False


class Outcome(StrEnum):
    """How a row ended. Stable names: log queries and the runbook use them."""

    FRESH = "fresh"
    RENEWED = "renewed"
    UNCHANGED = "unchanged"  # the location holds exactly the token that was to be written
    RESTARTING = "restarting"
    WAITING = "waiting"  # delivered or staged: something else has to happen first
    UNVERIFIED = "unverified"  # whether the token is alive, or whether its workload restarted
    PAUSED = "paused"
    FAILED = "failed"
    NOT_REACHED = "not_reached"  # the run's time was over
    GONE = "gone"


BAD = frozenset({Outcome.FAILED, Outcome.NOT_REACHED})
# A check that was stopped: Azure's answers made many tokens look dead at once.
CHECK_STOPPED = "alive_check_stopped"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: a stable code and a sentence without secrets. `until`: when it need not be told any longer."""

    code: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The token that a location holds, with its times."""

    expiry: datetime
    due: datetime
    at_risk_from: datetime
    key_type: KeyType | None = None
    issued_at: datetime | None = None
    key_since: datetime | None = None  # None: somebody else issued it, or nobody knows
    key_due: datetime | None = None  # when a failing row keeps its key's rotation for too long
    key_late: datetime | None = None  # when the key is older than any rotation takes
    regenerated_at: datetime | None = None  # when the gateway's idle key was regenerated last


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway's token at one location, after it was read or reconciled."""

    id: RowId
    decision: Decision
    seen: Seen | None = None  # None: nothing is stored, or it could not be read
    readable: bool = True
    outcome: Outcome | None = None  # None: only read
    old_expiry: datetime | None = None  # of what a renewal replaced
    renewed: bool = False  # a new token was delivered
    failure: Failure | None = None
    failing_since: datetime | None = None
    at: datetime | None = None
    proof: Proof | None = None  # what Azure last said of the stored value

    @property
    def code(self) -> str:
        """The code of its failure, or the empty string."""
        return self.failure.code if self.failure else ""

    def keeps_its_key(self, now: datetime) -> bool:
        """Whether the key is in use for longer than its rotation may take."""
        due, late = (self.seen.key_due, self.seen.key_late) if self.seen else (None, None)
        return bool((late and late <= now) or (due and due <= now and self.outcome in BAD))

    def at_risk(self, now: datetime) -> bool:
        """Whether the gateway may soon be without a token, judged by the expiry that is known."""
        if self.seen is None:
            return self.readable and self.outcome in BAD
        return self.seen.at_risk_from <= now


def failure_of(error: Exception) -> Failure:
    """An error's code and sentence. Of an unexpected one only the type is told: its text may hold anything."""
    if isinstance(error, GatewayTokensError):
        return Failure(error.code, str(error)[:_LONGEST_TEXT])
    return Failure("internal_error", type(error).__name__)


def why(error: Exception) -> dict[str, str]:
    """An error as fields of a log line."""
    failure = failure_of(error)
    return {"code": failure.code, "error": failure.text}


def count(rows: Iterable[Row]) -> Counter[str]:
    """How many rows ended how; of rows that were only read, what is to be done with them."""
    return Counter(str(row.outcome or (row.decision.action if row.readable else "unknown")) for row in rows)
