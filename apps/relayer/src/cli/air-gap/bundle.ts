/** `npm run relayer -- bundle`: writes what waits for one node into a file, to be carried to where its keys are. */

import { parseArgs } from 'node:util'
import {
  type BundleCluster,
  BundleError,
  type BundleOwner,
  MOST_ITEMS,
  makeBundle,
  timeText,
  writeBundle,
} from '@dvt-relayer/api/bundle.ts'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { LARGE_FILE_BYTES, readText } from '@dvt-relayer/common/files/text-file.ts'
import { count } from '@dvt-relayer/common/findings.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { parseClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { parseKeysharesFile } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import { COMMANDS, usageError, usageOf } from '../usage.ts'
import { type Asked, askLists } from './asked.ts'
import { commandOfBundle } from './exit-code.ts'
import { askWhoami, assertCovered, openRelayer } from './relayer.ts'

/** A cluster's validators (hex), and the share indexes it has. */
interface Members {
  readonly cluster: BundleCluster
  readonly publicKeys: ReadonlySet<string>
  readonly shareIndexes: ReadonlySet<number>
}

/** Runs the command. Returns an exit code. */
export const bundleCommand = commandOfBundle(async (args, signal) => {
  const { values } = parseArgs({ args: [...args], options: COMMANDS.bundle.options })
  const shareIndex = /^[1-9]\d{0,15}$/.test(values['share-index']) ? Number(values['share-index']) : undefined
  const { 'cluster-lock': lockFile, keyshares, out } = values
  if (
    shareIndex === undefined ||
    !Number.isSafeInteger(shareIndex) ||
    out === '' ||
    (lockFile === '') === (keyshares === '')
  )
    throw usageError(
      'bundle wants --share-index, --out, and the cluster: --cluster-lock of Obol or --keyshares of SSV',
      usageOf('bundle'),
    )
  const members = lockFile === '' ? await membersOfSsv(keyshares) : await membersOfLock(lockFile)
  if (!members.shareIndexes.has(shareIndex))
    throw new BundleError(
      'BUNDLE_SHARE_INDEX',
      `this cluster has no share index ${shareIndex}: it has ${[...members.shareIndexes].slice(0, 20).join(', ')}`,
    )
  const relayer = await openRelayer(values.relayer, values['token-file'])
  const { network } = await relayer.getInfo(signal)
  const owner: BundleOwner = { network, cluster: members.cluster, share_index: shareIndex }
  assertCovered(await askWhoami(relayer, signal), owner)
  const asked = await askLists(relayer, shareIndex, signal)
  const isOpen = ({ item, standing }: Asked<{ readonly public_key: string }>) =>
    standing !== 'settled' && members.publicKeys.has(item.public_key)
  const exits = [...asked.exits.values()].filter(isOpen)
  const validators = [...asked.validators.values()].filter(isOpen)
  const bundle = makeBundle({
    ...owner,
    made_at: timeText(),
    exits: exits.slice(0, MOST_ITEMS).map(({ item }) => item),
    validators: validators.slice(0, MOST_ITEMS).map(({ item }) => item),
  })
  await writeBundle(out, bundle)
  const names = (items: typeof exits) => items.map(({ item }) => item.public_key)
  const waiting = new Set([...names(exits), ...names(validators)])
  const written = new Set([...bundle.exits, ...bundle.validators].map((item) => item.public_key))
  const unverified = [...exits, ...validators].filter(({ standing }) => standing === 'unverified')
  console.log(
    [
      `${out}: ${count(written.size, 'validator')} for share index ${shareIndex}${validators.length === 0 ? '' : `, ${bundle.validators.length} of them with a deposit`}`,
      ...(unverified.length === 0
        ? []
        : [
            `  of ${count(new Set(names(unverified)).size, 'validator')} the relayer has signatures that it cannot verify yet`,
          ]),
      ...(waiting.size === written.size
        ? []
        : [`${count(waiting.size - written.size, 'validator')} more: hand this one in, then make another`]),
      ...(written.size === 0
        ? ['nothing waits for this node']
        : ['sign it beside the keys with: npm run sidecar -- sign-bundle']),
    ].join('\n'),
  )
  return 0
})

/** @throws {BootError} CLUSTER_FILE_UNREADABLE; {ClusterLockError} */
async function membersOfLock(file: string): Promise<Members> {
  const { lockHash, validators, operators } = parseClusterLock(await textOf(file), { file })
  return {
    cluster: { kind: 'obol', lock_hash: toHex(lockHash) },
    publicKeys: new Set(validators.map(({ publicKey }) => toHex(publicKey))),
    shareIndexes: new Set(operators.map((_, position) => position + 1)),
  }
}

/** @throws {BootError} CLUSTER_FILE_UNREADABLE; {KeysharesError} */
async function membersOfSsv(file: string): Promise<Members> {
  const items = parseKeysharesFile(await textOf(file), { file })
  return {
    cluster: { kind: 'ssv' },
    publicKeys: new Set(items.map(({ publicKey }) => toHex(publicKey))),
    shareIndexes: new Set(items.flatMap(({ operators }) => operators.map(({ id }) => id))),
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return await readText(file, LARGE_FILE_BYTES)
  } catch (error) {
    throw new BootError('CLUSTER_FILE_UNREADABLE', `${file} cannot be read (${reasonOf(error)})`, { cause: error })
  }
}
