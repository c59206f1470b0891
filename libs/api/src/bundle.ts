/**
 * Bundles: what waits for a node, and what it has signed, as files that are carried to a machine without network and back
 * (docs/operating/air-gap.md). Both sides read them as what they are: a stranger's text. The checksum is against accidents; against
 * people stand the policy where it is signed, and the verification under the key share where it is handed in.
 */

import { hash } from 'node:crypto'
import { CodedError, reasonOf, TextError } from '@dvt-relayer/common/errors.ts'
import { textLike } from '@dvt-relayer/common/expected.ts'
import { replaceFile } from '@dvt-relayer/common/files/replace-file.ts'
import { readText } from '@dvt-relayer/common/files/text-file.ts'
import { createFaultFinder } from '@dvt-relayer/common/json/fault.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { amountGwei, safeInteger, strictHex, validatorIndex } from './schemas/fields.ts'
import { ValidatorType } from './schemas/registrations.ts'

/** How a command about a bundle ends, beside 0 (all is done), 1 (settings, usage) and 75 (the relayer is away). */
export const BUNDLE_EXIT_CODES = {
  /** Not there, cut off, or no bundle. */
  BUNDLE_BROKEN: 2,
  /** Its contents do not have its checksum. */
  BUNDLE_CHANGED: 3,
  BUNDLE_VERSION: 4,
  BUNDLE_NETWORK: 5,
  BUNDLE_CLUSTER: 6,
  BUNDLE_SHARE_INDEX: 7,
  /** Nothing in it is wanted any more. */
  BUNDLE_OLD: 8,
  /** A part of it is done. */
  BUNDLE_PARTIAL: 9,
  /** None of it may be signed, or none was taken. */
  BUNDLE_REFUSED: 10,
} as const
export type BundleCode = keyof typeof BUNDLE_EXIT_CODES

/** What is wrong with a bundle; the message says what to do. */
export class BundleError extends CodedError<BundleCode> {}

/** Validators of one bundle; more wait for the next. */
export const MOST_ITEMS = 10_000
/** 10,000 signed validators of a cluster of thirteen, with every node's public key share. */
const MOST_BYTES = 64 * 1024 * 1024
/** A signed validator with the public key shares of thirteen nodes has some 60 values. */
const MOST_VALUES = 1_500_000
/** Nodes of a cluster, at most. */
const MOST_NODES = 256

const CLOSED = { additionalProperties: false } as const
const publicKey = strictHex(48, 'validator public key')
const signature = (of: string) => strictHex(96, `partial signature of the ${of}`)
const list = <T extends Parameters<typeof Type.Array>[0]>(item: T) => Type.Array(item, { maxItems: MOST_ITEMS })

/** Of Obol the lock says which cluster it is; of SSV the share index does, which is an operator's id in the whole network. */
const BundleCluster = Type.Union([
  Type.Object({ kind: Type.Literal('obol'), lock_hash: strictHex(32, 'of the cluster lock') }, CLOSED),
  Type.Object({ kind: Type.Literal('ssv') }, CLOSED),
])
export type BundleCluster = Static<typeof BundleCluster>

const exit = { public_key: publicKey, validator_index: validatorIndex }
const deposit = {
  vault: strictHex(20, 'address of the vault'),
  amount: amountGwei(1, 'Gwei to deposit'),
  validator_type: ValidatorType,
}
const head = <Format extends string>(format: Format) => ({
  format: Type.Literal(format),
  version: Type.Literal(1),
  network: textLike('^[\\w-]{1,32}$', 'a name of a network'),
  cluster: BundleCluster,
  share_index: safeInteger(1, 'share index of the node, from 1'),
  made_at: textLike(
    '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$',
    'a time such as 2026-01-31T12:00:00Z',
    'for people',
  ),
})
const tail = { sha256: strictHex(32, 'of all the rest, as compact JSON') }

const UNSIGNED = 'dvt-relayer bundle'
const SIGNED = 'dvt-relayer signed bundle'

const Bundle = Type.Object(
  {
    ...head(UNSIGNED),
    exits: list(Type.Object(exit, CLOSED)),
    validators: list(Type.Object({ ...exit, ...deposit }, CLOSED)),
    ...tail,
  },
  CLOSED,
)
/** What waits for a node: exits, and validators with their deposits (whose exits may stand among the exits as well). */
export type Bundle = Static<typeof Bundle>

const SignedBundle = Type.Object(
  {
    ...head(SIGNED),
    exits: list(Type.Object({ ...exit, exit_signature: signature('exit') }, CLOSED)),
    validators: list(
      Type.Object(
        {
          ...exit,
          ...deposit,
          exit_signature: signature('exit'),
          deposit_signature: signature('deposit'),
          public_key_shares: Type.Array(
            Type.Object(
              {
                share_index: safeInteger(1, 'share index of a node'),
                public_key_share: strictHex(48, 'its public key share'),
              },
              CLOSED,
            ),
            { maxItems: MOST_NODES },
          ),
        },
        CLOSED,
      ),
    ),
    ...tail,
  },
  CLOSED,
)
/** What a node has signed. */
export type SignedBundle = Static<typeof SignedBundle>

/** What says whose a bundle is. */
export type BundleOwner = Pick<Bundle, 'network' | 'cluster' | 'share_index'>

const schemas = { bundle: Bundle, signed: SignedBundle } as const
const checks = { bundle: Compile(Bundle), signed: Compile(SignedBundle) }
const FORMATS = { bundle: UNSIGNED, signed: SIGNED } as const
const INSTEAD = {
  bundle: 'is signed already: hand it in with npm run relayer -- take-bundle',
  signed: 'is not signed yet: sign it with npm run sidecar -- sign-bundle',
} as const

/** Now, as a bundle says it. */
export const timeText = (): string => `${new Date().toISOString().slice(0, 19)}Z`

/** Completes a bundle. */
export function makeBundle(parts: Omit<Bundle, 'format' | 'version' | 'sha256'>): Bundle {
  return withChecksum({ format: UNSIGNED, version: 1, ...parts } as const)
}

/** Completes a signed bundle. */
export function makeSignedBundle(parts: Omit<SignedBundle, 'format' | 'version' | 'sha256'>): SignedBundle {
  return withChecksum({ format: SIGNED, version: 1, ...parts } as const)
}

const withChecksum = <T extends object>(rest: T): T & { sha256: string } => ({ ...rest, sha256: checksumOf(rest) })

const checksumOf = (rest: object): string => `0x${hash('sha256', JSON.stringify(rest), 'hex')}`

/** The text of a bundle's file. */
const textOf = (bundle: Bundle | SignedBundle): string => `${JSON.stringify(bundle, undefined, 1)}\n`

/** Whether this fits into a file. */
export const fits = (bundle: SignedBundle): boolean => textOf(bundle).length <= MOST_BYTES

/** Writes a bundle, old or new and never half, for its owner alone. @throws {BundleError} BUNDLE_BROKEN */
export async function writeBundle(path: string, bundle: Bundle | SignedBundle): Promise<void> {
  try {
    await replaceFile(path, textOf(bundle))
  } catch (error) {
    throw new BundleError(
      'BUNDLE_BROKEN',
      `${path} cannot be written (${reasonOf(error)}): nothing is in it, or what was before`,
      { cause: error },
    )
  }
}

/** Reads what waits for a node. @throws {BundleError} BUNDLE_BROKEN, BUNDLE_CHANGED, BUNDLE_VERSION */
export async function readBundle(path: string): Promise<Bundle> {
  return (await read(path, 'bundle')) as Bundle
}

/** Reads what a node has signed. @throws {BundleError} BUNDLE_BROKEN, BUNDLE_CHANGED, BUNDLE_VERSION */
export async function readSignedBundle(path: string): Promise<SignedBundle> {
  return (await read(path, 'signed')) as SignedBundle
}

async function read(path: string, kind: keyof typeof checks): Promise<Bundle | SignedBundle> {
  const broken = (reason: string, cause?: unknown) =>
    new BundleError('BUNDLE_BROKEN', `${path} ${reason}`, cause === undefined ? {} : { cause })
  let value: unknown
  try {
    value = parseJsonText(await readText(path, MOST_BYTES), MOST_VALUES)
  } catch (error) {
    if (error instanceof TextError && error.code === 'JSON_INVALID')
      throw broken('is no bundle, or only the first part of one: copy it again')
    throw broken(`cannot be read (${reasonOf(error)})`, error)
  }
  const { format, version } = (value ?? {}) as { format?: unknown; version?: unknown }
  if (format !== FORMATS[kind])
    throw broken(format === FORMATS[kind === 'signed' ? 'bundle' : 'signed'] ? INSTEAD[kind] : 'is no bundle')
  if (Number.isSafeInteger(version) && version !== 1)
    throw new BundleError(
      'BUNDLE_VERSION',
      `${path} is a bundle of version ${String(version)}, and this knows version 1: update this machine`,
    )
  const check = checks[kind]
  if (!check.Check(value)) {
    const { instancePath, message } = createFaultFinder(schemas[kind])(value)
    throw broken(`is no bundle: ${`${instancePath} ${message}`.trim().slice(0, 200)}`)
  }
  const { sha256, ...rest } = value
  if (checksumOf(rest) !== sha256)
    throw new BundleError(
      'BUNDLE_CHANGED',
      `${path} was changed after it was made, or is damaged (its contents do not have its sha256): make it again`,
    )
  for (const name of ['exits', 'validators'] as const)
    if (new Set(rest[name].map((item) => item.public_key)).size !== rest[name].length)
      throw broken(`names a validator twice in its ${name}`)
  return value
}

/** Which cluster, in words. */
export const clusterWords = (cluster: BundleCluster): string =>
  cluster.kind === 'ssv' ? 'SSV' : `the cluster lock ${cluster.lock_hash.slice(0, 34)}…`
