/** What the consensus node stand-in answers with, as clients write it. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { type FoundValidator, GWEI_PER_ETH, type StandInDeposit } from './beacon-registry.ts'

/** FAR_FUTURE_EPOCH */
const NEVER = '18446744073709551615'

/** What clients answer of the settings they run with: text, but for the newest ones. */
export function specOf(network: Network) {
  return {
    CONFIG_NAME: network.name,
    PRESET_BASE: network.name === 'gnosis' ? 'gnosis' : 'mainnet',
    MIN_GENESIS_ACTIVE_VALIDATOR_COUNT: '16384',
    MIN_GENESIS_TIME: String(network.genesisTimestamp),
    GENESIS_FORK_VERSION: toHex(network.genesisForkVersion),
    GENESIS_DELAY: '600',
    ALTAIR_FORK_VERSION: '0x20000910',
    ALTAIR_FORK_EPOCH: '0',
    BELLATRIX_FORK_VERSION: '0x30000910',
    BELLATRIX_FORK_EPOCH: '0',
    CAPELLA_FORK_VERSION: toHex(network.capellaForkVersion),
    CAPELLA_FORK_EPOCH: String(network.capellaEpoch),
    DENEB_FORK_VERSION: '0x50000910',
    DENEB_FORK_EPOCH: String(network.capellaEpoch),
    ELECTRA_FORK_VERSION: '0x60000910',
    ELECTRA_FORK_EPOCH: String(network.capellaEpoch + 2048),
    FULU_FORK_VERSION: '0x70000910',
    FULU_FORK_EPOCH: NEVER,
    SECONDS_PER_SLOT: String(network.secondsPerSlot),
    SLOT_DURATION_MS: String(network.secondsPerSlot * 1000),
    SECONDS_PER_ETH1_BLOCK: '14',
    MIN_VALIDATOR_WITHDRAWABILITY_DELAY: '256',
    SHARD_COMMITTEE_PERIOD: '256',
    ETH1_FOLLOW_DISTANCE: '2048',
    EJECTION_BALANCE: '16000000000',
    MIN_PER_EPOCH_CHURN_LIMIT: '4',
    CHURN_LIMIT_QUOTIENT: '65536',
    PROPOSER_SCORE_BOOST: '40',
    DEPOSIT_CHAIN_ID: String(network.chainId),
    DEPOSIT_NETWORK_ID: String(network.chainId),
    DEPOSIT_CONTRACT_ADDRESS: toHex(network.depositContract),
    SLOTS_PER_EPOCH: String(network.slotsPerEpoch),
    MIN_DEPOSIT_AMOUNT: '1000000000',
    MAX_EFFECTIVE_BALANCE: '32000000000',
    MAX_EFFECTIVE_BALANCE_ELECTRA: '2048000000000',
    VALIDATOR_REGISTRY_LIMIT: '1099511627776',
    PENDING_DEPOSITS_LIMIT: '134217728',
    DOMAIN_DEPOSIT: '0x03000000',
    DOMAIN_VOLUNTARY_EXIT: '0x04000000',
    BLOB_SCHEDULE: [{ EPOCH: NEVER, MAX_BLOBS_PER_BLOCK: '9' }],
  }
}

/** A validator as clients list it. */
export function validatorJson({ index, publicKey, withdrawalCredentials, balanceGwei, status }: FoundValidator) {
  const most = (withdrawalCredentials[0] === 2 ? 2_048n : 32n) * GWEI_PER_ETH
  const whole = balanceGwei - (balanceGwei % GWEI_PER_ETH)
  const activation = status.startsWith('pending_') ? NEVER : '0'
  const exit = /^(active_exiting|active_slashed|exited_|withdrawal_)/.test(status) ? '1' : NEVER
  return {
    index: String(index),
    balance: String(balanceGwei),
    status,
    validator: {
      pubkey: toHex(publicKey),
      withdrawal_credentials: toHex(withdrawalCredentials),
      effective_balance: String(whole < most ? whole : most),
      slashed: status.endsWith('_slashed'),
      activation_eligibility_epoch: activation,
      activation_epoch: activation,
      exit_epoch: exit,
      withdrawable_epoch: exit,
    },
  }
}

/** A pending deposit as clients list it. */
export function depositJson({ publicKey, withdrawalCredentials, amountGwei, signature }: StandInDeposit) {
  return {
    pubkey: toHex(publicKey),
    withdrawal_credentials: toHex(withdrawalCredentials),
    amount: String(amountGwei),
    signature: toHex(signature),
    slot: '1',
  }
}
