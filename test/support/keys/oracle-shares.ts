/** Oracle shares of an exit as the relayer answers them, made for the oracles of a vector, whose secret keys are known. */

import type { ExitShareItem, OracleSharesResponse } from '@dvt-relayer/api/schemas.ts'
import { cidOf } from '@dvt-relayer/chain/ipfs/cid.ts'
import { type Network, networks } from '@dvt-relayer/chain/networks.ts'
import { parseOracleConfig } from '@dvt-relayer/chain/stakewise/oracle-config.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { scalarBytes } from '@dvt-relayer/crypto/bls/scalar.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { splitExitSignature } from '@dvt-relayer/crypto/oracle/oracle-split.ts'
import { shareReceipt } from '@dvt-relayer/crypto/oracle/share-receipt.ts'
import { encrypt } from 'eciesjs'
import { readFixtureJson } from './fixtures.ts'

interface ConfigVector {
  name: string
  config: object
  secret_keys: string[]
}

const vectors = (readFixtureJson('vectors/oracle_config.json') as { valid: ConfigVector[] }).valid

/** An oracle config of the vectors: its text, its CID, and the oracles' secret keys in order. */
export function vectorConfig(name: string) {
  const vector = vectors.find((candidate) => candidate.name === name)
  if (vector === undefined) throw new Error(`no such config: ${name}`)
  const text = JSON.stringify(vector.config)
  return {
    text,
    cid: cidOf(Buffer.from(text)),
    config: parseOracleConfig(vector.config),
    secretKeys: vector.secret_keys.map((key) => fromHex(key, 32)),
  }
}

const VALIDATOR_KEY = scalarBytes(0x1234567890abcdefn)

export interface SharesOptions {
  configName?: string
  network?: Network
  /** Whose epoch and fork are signed, where they are not those of `network`. */
  signedFor?: Network
  validatorIndex?: number
  /** The degree of the polynomial, plus one, where it is not the config's threshold. */
  threshold?: number
}

/** A whole set of shares: what the relayer answers, and what only a test may know. */
export function makeOracleShares(options: SharesOptions = {}) {
  const { configName = 'eleven oracles, threshold seven', network = networks.mainnet, validatorIndex = 20551 } = options
  const blst = createBlstEngine()
  const named = vectorConfig(configName)
  const { oracles, threshold } = named.config
  const signedFor = options.signedFor ?? network
  const root = exitSigningRoot(signedFor, { epoch: signedFor.capellaEpoch, validatorIndex })
  const publicKey = blst.publicKeyOf(VALIDATOR_KEY)
  const exitSignature = blst.sign(VALIDATOR_KEY, root)
  const { publicKeyShares, signatureShares } = splitExitSignature(blst, {
    message: root,
    signature: exitSignature,
    publicKey,
    threshold: options.threshold ?? threshold,
    oracles: oracles.length,
  })
  const ciphertexts = signatureShares.map((share, i) =>
    Uint8Array.from(encrypt(oracles[i]?.publicKey ?? new Uint8Array(), share)),
  )
  const epoch = network.capellaEpoch
  const exit = { publicKey, epoch, validatorIndex, signingRoot: exitSigningRoot(network, { epoch, validatorIndex }) }
  const receipt = shareReceipt({
    ...exit,
    threshold,
    oracles: oracles.map((oracle) => oracle.publicKey),
    publicKeyShares,
    ciphertexts,
  })
  const common = {
    public_key: toHex(publicKey),
    validator_index: validatorIndex,
    epoch,
    vault: null,
    receipt: toHex(receipt),
    created_at_timestamp: 1_732_147_200,
  }
  const set: OracleSharesResponse = {
    ...common,
    oracle_set: { cid: named.cid, threshold, block_number: 18470100, is_current: true },
    oracles: oracles.map(({ address }) => address),
    oracle_public_keys: oracles.map((oracle) => toHex(oracle.publicKey)),
    public_keys: publicKeyShares.map(toHex),
    encrypted_exit_signatures: ciphertexts.map(toHex),
  }
  /** The item of the oracle at a place, from 1. */
  const item = (position: number): ExitShareItem => ({
    ...common,
    public_key_share: set.public_keys[position - 1] ?? '',
    encrypted_exit_signature: set.encrypted_exit_signatures[position - 1] ?? '',
    oracle_set: { cid: named.cid, threshold, oracles: oracles.length, place: position, block_number: 18470100 },
    is_outdated: false,
  })
  return { ...named, network, root, publicKey, validatorIndex, exitSignature, signatureShares, set, item }
}
export type MadeShares = ReturnType<typeof makeOracleShares>
