/** The exit that is to be verified, and those it may be mistaken for. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { exitSigningRoot, type VoluntaryExit } from '@dvt-relayer/crypto/messages/messages.ts'
import { type ExitNetwork, NETWORKS } from './networks.ts'
import type { Facts } from './verdicts.ts'

/** One exit of one validator. */
export interface Exit {
  /** 48 bytes. */
  publicKey: Uint8Array
  validatorIndex: number
  epoch: number
}

/** What the caller says of the exit: where files say it as well, they must agree. */
export interface Claims {
  publicKey: Uint8Array | undefined
  validatorIndex: number | undefined
  /** `--epoch`, else the network's Capella epoch. */
  epoch: number
}

/** What nodes and oracles sign for this exit, 32 bytes. */
export const signingRootOf = (network: ExitNetwork, exit: VoluntaryExit): Uint8Array => exitSigningRoot(network, exit)

/** The exit in the words of facts. */
export const exitFacts = (network: ExitNetwork, exit: Exit): Facts => ({
  network: network.name,
  public_key: toHex(exit.publicKey),
  validator_index: exit.validatorIndex,
  epoch: exit.epoch,
})

/** In what an exit differs from what the caller says, undefined when in nothing. */
export function claimFault(exit: Exit, { publicKey, validatorIndex, epoch }: Claims): string | undefined {
  if (publicKey !== undefined && toHex(publicKey) !== toHex(exit.publicKey))
    return `this is an exit of validator ${toHex(exit.publicKey)}, not of ${toHex(publicKey)}`
  if (validatorIndex !== undefined && validatorIndex !== exit.validatorIndex)
    return `this is an exit for validator index ${exit.validatorIndex}, not ${validatorIndex}`
  if (epoch !== exit.epoch) return `this is an exit for epoch ${exit.epoch}, not ${epoch}`
  return undefined
}

/**
 * Exits that somebody may have signed instead: of another network, or under the fork version that was current before EIP-7044
 * fixed it. Each with its signing root and how to call it.
 */
export function mistakenExits(network: ExitNetwork, exit: VoluntaryExit): { what: string; root: Uint8Array }[] {
  const others = NETWORKS.filter(({ name }) => name !== network.name).flatMap((other) =>
    [...new Set([exit.epoch, other.capellaEpoch])].map((epoch) => ({
      what: `an exit for ${other.name}, epoch ${epoch}`,
      root: signingRootOf(other, { ...exit, epoch }),
    })),
  )
  const genesisFork = { ...network, capellaForkVersion: network.genesisForkVersion }
  return [
    ...others,
    {
      what: 'an exit under the genesis fork version instead of that of Capella',
      root: signingRootOf(genesisFork, exit),
    },
  ]
}
