"""Judges exits and deposits by the executable consensus specification.

Reads one JSON document from standard input and writes one to standard output. Bytes are hex with 0x.

    {"network": {"genesis_fork_version", "capella_fork_version", "capella_epoch", "genesis_validators_root"},
     "exits":    [{"public_key", "validator_index", "epoch", "signature"}],
     "deposits": [{"public_key", "withdrawal_credentials", "amount", "signature", "data_root"}]}

    {"<fork>": {"exits": [<reason or null>], "deposits": [<reason or null>]}}

A null says that the specification of this fork takes it and the state shows what it should: the exit is under way, the validator is
there with its credentials and balance. Every fork from Capella to the newest of the package is asked.
"""

import hashlib
import importlib
import json
import pkgutil
import sys

import eth_consensus_specs

FIRST_FORK = "capella"


def forks():
    """Names of the forks that follow each other, oldest first; branches of single proposals are named after their number."""
    found = [m.name for m in pkgutil.iter_modules(eth_consensus_specs.__path__) if m.ispkg]
    order = []
    for name in found:
        if name in ("test", "utils", "debug") or name.startswith("eip"):
            continue
        spec = importlib.import_module(f"eth_consensus_specs.{name}.mainnet")
        version = getattr(spec.config, f"{name.upper()}_FORK_VERSION", spec.config.GENESIS_FORK_VERSION)
        order.append((bytes(version), name))
    names = [name for _, name in sorted(order)]
    return names[names.index(FIRST_FORK):]


def raw(text):
    return bytes.fromhex(text.removeprefix("0x"))


def load(fork, network):
    spec = importlib.import_module(f"eth_consensus_specs.{fork}.mainnet")
    spec.config = spec.config._replace(
        GENESIS_FORK_VERSION=spec.Version(raw(network["genesis_fork_version"])),
        CAPELLA_FORK_VERSION=spec.Version(raw(network["capella_fork_version"])),
        CAPELLA_FORK_EPOCH=spec.Epoch(network["capella_epoch"]),
    )
    return spec


def make_state(spec, fork, network):
    """A state of this fork, late enough that a validator of the fork of Capella may leave."""
    state = spec.BeaconState()
    state.genesis_validators_root = spec.Root(raw(network["genesis_validators_root"]))
    capella = network["capella_epoch"]
    epoch = capella + int(spec.config.SHARD_COMMITTEE_PERIOD) + 100
    state.slot = spec.Slot(epoch * int(spec.SLOTS_PER_EPOCH))
    version = raw(network["capella_fork_version"])
    # Later forks have another version; the exit's domain must be Capella's all the same.
    current = version if fork == FIRST_FORK else bytes([0xEE, *version[1:]])
    state.fork = spec.Fork(
        previous_version=spec.Version(bytes([0xDD, *version[1:]])),
        current_version=spec.Version(current),
        epoch=spec.Epoch(capella if fork == FIRST_FORK else capella + 1),
    )
    return state


def make_validator(spec, public_key, activation_epoch):
    return spec.Validator(
        pubkey=spec.BLSPubkey(public_key),
        withdrawal_credentials=spec.Bytes32(b"\x01" + bytes(31)),
        effective_balance=spec.Gwei(32 * 10**9),
        activation_eligibility_epoch=spec.Epoch(activation_epoch),
        activation_epoch=spec.Epoch(activation_epoch),
        exit_epoch=spec.FAR_FUTURE_EPOCH,
        withdrawable_epoch=spec.FAR_FUTURE_EPOCH,
    )


def add_validator(spec, state, validator):
    state.validators.append(validator)
    state.balances.append(validator.effective_balance)
    for field in ("previous_epoch_participation", "current_epoch_participation", "inactivity_scores"):
        getattr(state, field).append(0)


def judge_exit(spec, fork, network, item):
    state = make_state(spec, fork, network)
    capella = network["capella_epoch"]
    for _ in range(item["validator_index"]):
        add_validator(spec, state, make_validator(spec, bytes(48), capella))
    add_validator(spec, state, make_validator(spec, raw(item["public_key"]), capella))
    signed = spec.SignedVoluntaryExit(
        message=spec.VoluntaryExit(epoch=spec.Epoch(item["epoch"]), validator_index=spec.ValidatorIndex(item["validator_index"])),
        signature=spec.BLSSignature(raw(item["signature"])),
    )
    spec.process_voluntary_exit(state, signed)
    assert state.validators[item["validator_index"]].exit_epoch != spec.FAR_FUTURE_EPOCH, "no exit is under way"


def prove_deposit(spec, state, data):
    """The deposit as the first leaf of the deposit contract's tree, with its branch."""
    node, branch, empty = bytes(spec.hash_tree_root(data)), [], bytes(32)
    for _ in range(int(spec.DEPOSIT_CONTRACT_TREE_DEPTH)):
        branch.append(empty)
        node = hashlib.sha256(node + empty).digest()
        empty = hashlib.sha256(empty + empty).digest()
    count = (1).to_bytes(32, "little")
    branch.append(count)
    state.eth1_data.deposit_root = spec.Root(hashlib.sha256(node + count).digest())
    state.eth1_data.deposit_count = 1
    return spec.Deposit(proof=spec.DepositProof(data=[spec.Bytes32(part) for part in branch]), data=data)


def settle(spec, state, item):
    """Lets in what waits (from Electra on), and compares the validator with the deposit."""
    for pending in list(getattr(state, "pending_deposits", [])):
        spec.apply_pending_deposit(state, pending)
    # A deposit of the contract's tree makes an empty validator from Electra on; the end of the epoch counts its balance.
    spec.process_effective_balance_updates(state)
    assert len(state.validators) == 1, "no validator was made: the signature is not valid"
    validator = state.validators[0]
    assert bytes(validator.pubkey) == raw(item["public_key"])
    assert bytes(validator.withdrawal_credentials) == raw(item["withdrawal_credentials"])
    assert int(state.balances[0]) == item["amount"]
    most = 2048 if item["withdrawal_credentials"].startswith("0x02") and hasattr(state, "pending_deposits") else 32
    whole = item["amount"] - item["amount"] % int(spec.EFFECTIVE_BALANCE_INCREMENT)
    assert int(validator.effective_balance) == min(whole, most * 10**9), "another effective balance"


def judge_deposit(spec, fork, network, item):
    fields = {
        "pubkey": spec.BLSPubkey(raw(item["public_key"])),
        "withdrawal_credentials": spec.Bytes32(raw(item["withdrawal_credentials"])),
        "amount": spec.Gwei(item["amount"]),
        "signature": spec.BLSSignature(raw(item["signature"])),
    }
    data = spec.DepositData(**fields)
    assert bytes(spec.hash_tree_root(data)) == raw(item["data_root"]), "the deposit data root differs"
    if hasattr(spec, "process_deposit"):
        state = make_state(spec, fork, network)
        spec.process_deposit(state, prove_deposit(spec, state, data))
        settle(spec, state, item)
    if hasattr(spec, "process_deposit_request"):
        state = make_state(spec, fork, network)
        spec.process_deposit_request(state, spec.DepositRequest(**fields, index=0))
        settle(spec, state, item)


def verdict(judge, *args):
    # An assertion is the specification's (or ours, of the state afterwards): refused. Any other error is a fault of this program.
    try:
        judge(*args)
        return None
    except AssertionError as error:
        return str(error) or "refused"


def main():
    asked = json.load(sys.stdin)
    network = asked["network"]
    answer = {}
    for fork in forks():
        spec = load(fork, network)
        answer[fork] = {
            "exits": [verdict(judge_exit, spec, fork, network, item) for item in asked["exits"]],
            "deposits": [verdict(judge_deposit, spec, fork, network, item) for item in asked["deposits"]],
        }
    json.dump(answer, sys.stdout)


main()
