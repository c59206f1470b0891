/** Whether a consensus node is on the chain that the network setting describes: by its genesis, and by the settings it runs with. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { HttpAsk } from '@dvt-relayer/common/http/client.ts'
import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'
import { createBeaconApi } from './beacon-api.ts'

/** What of a network a consensus node can contradict. */
export type ComparedNetwork = Omit<
  Network,
  'depositContractBlock' | 'keeper' | 'keeperBlock' | 'registryDump' | 'ssvNetwork'
>

/**
 * Compares a node with the network. The genesis validators root does not cover what comes later: with a wrong fork version of
 * Capella every exit would be signed, and refused by every node. What a node leaves out is not compared.
 *
 * @throws {ChainError} CHAIN_MISMATCH, with both values; {HttpError}
 */
export async function assertChain(ask: HttpAsk, network: ComparedNetwork): Promise<void> {
  const api = createBeaconApi(ask)
  const mismatch = (words: string) =>
    new ChainError('CHAIN_MISMATCH', `the consensus node at ${ask.host} is not on ${network.name}: ${words}`, {
      meta: { host: ask.host, network: network.name },
    })
  const genesis = await api.genesis()
  const isOurs =
    genesis.validatorsRoot === toHex(network.genesisValidatorsRoot) &&
    genesis.forkVersion.toLowerCase() === toHex(network.genesisForkVersion)
  if (!isOurs) throw mismatch('its genesis validators root or fork version differs')
  const said: Record<string, unknown> = { ...(await api.spec()), genesis_time: genesis.time }
  // Of two names for one thing the newer counts where the older is gone: beside it a client may show the default of mainnet.
  if (said['SECONDS_PER_SLOT'] !== undefined) said['SLOT_DURATION_MS'] = undefined
  const differences = Object.entries(expectedOf(network)).flatMap(([name, expected]) => {
    const value = said[name]
    if (value === undefined || normal(value) === normal(expected)) return []
    return [`${name} is ${ask.quote(String(value))} there and ${expected} in our network setting`]
  })
  if (differences.length > 0) throw mismatch(differences.join('; '))
}

/** What a node of the network says, by the names of `GET /eth/v1/config/spec` and `/eth/v1/beacon/genesis`. */
function expectedOf(network: ComparedNetwork): Record<string, string> {
  return {
    genesis_time: String(network.genesisTimestamp),
    GENESIS_FORK_VERSION: toHex(network.genesisForkVersion),
    CAPELLA_FORK_VERSION: toHex(network.capellaForkVersion),
    CAPELLA_FORK_EPOCH: String(network.capellaEpoch),
    SLOTS_PER_EPOCH: String(network.slotsPerEpoch),
    SECONDS_PER_SLOT: String(network.secondsPerSlot),
    SLOT_DURATION_MS: String(network.secondsPerSlot * 1000),
    DEPOSIT_CHAIN_ID: String(network.chainId),
    DEPOSIT_CONTRACT_ADDRESS: toHex(network.depositContract),
  }
}

/** Hex in one case, whole numbers without zeros in front. */
function normal(value: unknown): string {
  const text = String(value).toLowerCase()
  return /^\d{1,30}$/.test(text) ? String(BigInt(text)) : text
}
