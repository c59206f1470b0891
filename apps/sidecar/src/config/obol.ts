/** The settings of an Obol node: where its keystores and its cluster lock are, and which node of the cluster it is. */

import { resolve } from 'node:path'
import type { SettingsOf } from '@dvt-relayer/common/settings.ts'
import { custom, integer, list, optional, text, withDefault } from '@dvt-relayer/common/settings.ts'
import { parseLockHash } from '@dvt-relayer/crypto/cluster-lock/lock-verify.ts'

/** Operators of a cluster lock, at most (docs/protocol.md#11-obol). */
const nodeIndex = (description: string, example: string) => integer(0, 255, { description, example })

export const OBOL_SETTINGS = {
  OBOL_KEYSTORES_DIR: optional(
    text({
      description:
        "folder of the node's keystores and their passwords, as charon leaves it; not with REMOTE_SIGNER_URL",
      example: './.charon/validator_keys',
    }),
    'required for OBOL without REMOTE_SIGNER_URL',
  ),
  OBOL_KEYSTORES_DIR_TEMPLATE: optional(
    text({
      description:
        "path of one node's keystores, below OBOL_KEYSTORES_DIR where that is set; {node_index} in it stands for the node's place",
      example: 'node{node_index}/validator_keys',
    }),
  ),
  OBOL_CLUSTER_LOCK_FILE: optional(
    text({ description: "the cluster's lock", example: './.charon/cluster-lock.json' }),
    'cluster-lock.json in the keystores folder or the one above',
  ),
  OBOL_NODE_INDEX: optional(
    nodeIndex("the node's place in the cluster, from 0; found from its keys, an error where they say otherwise", '0'),
    'found from the keys',
  ),
  OBOL_NODE_INDEXES: withDefault(
    list(nodeIndex('several nodes in one process, comma separated, for tests; goes before OBOL_NODE_INDEX', '0,1,2,3')),
    [],
    '',
  ),
  OBOL_ENR_KEY_FILE: optional(
    text({
      description:
        "charon's key of this node (charon-enr-private-key): signs the requests to the relayer where RELAYER_ENDPOINT has no token",
      example: './.charon/charon-enr-private-key',
    }),
    'the relayer is shown a token, or nothing',
  ),
  CLUSTER_LOCK_HASHES: withDefault(
    list(
      custom(parseLockHash, {
        description: 'the lock_hash values this sidecar may work with, comma separated',
        example: '0x8e37c13116c0e51f807696a3ee0bb7845acc1290ea7ae81ba9f1dee568935349',
      }),
    ),
    [],
    '',
  ),
}
type Values = SettingsOf<typeof OBOL_SETTINGS>

/** Where one Obol node's keys are. */
export interface ObolNodeSource {
  readonly keystoresDir: string
  /** Beside the keystores when undefined. */
  readonly lockFile: string | undefined
  /** From 0; what the keys must agree with, when set. */
  readonly nodeIndex: number | undefined
}

/** The key shares of Obol nodes that a remote signer holds: those of a cluster, at the positions (from 0) that are meant. */
export interface ObolKeys {
  readonly lockFile: string
  /** None: the one position that all keys stand at. */
  readonly nodeIndexes: readonly number[]
}

const NODE_INDEX = '{node_index}'

/** The nodes that settings name: as in the existing sidecar the plural goes before the singular. */
function nodeIndexes({ OBOL_NODE_INDEX: index, OBOL_NODE_INDEXES: indexes }: Values): readonly number[] {
  if (indexes.length > 0) return indexes
  return index === undefined ? [] : [index]
}

/** A note on each setting that another one beside it makes meaningless. */
export function obolWarnings(values: Values): string[] {
  return values.OBOL_NODE_INDEX !== undefined && values.OBOL_NODE_INDEXES.length > 0
    ? ['OBOL_NODE_INDEX is ignored: OBOL_NODE_INDEXES goes before it']
    : []
}

/** What is wrong between settings of an Obol node that are each fine alone. `isRemote`: a remote signer holds its keys. */
export function obolProblems(values: Values, isRemote: boolean): string[] {
  const problems = isRemote ? remoteProblems(values) : []
  const template = values.OBOL_KEYSTORES_DIR_TEMPLATE
  if (!isRemote && values.OBOL_KEYSTORES_DIR === undefined && template === undefined)
    problems.push(
      'OBOL_KEYSTORES_DIR is required, for example OBOL_KEYSTORES_DIR=./.charon/validator_keys, or REMOTE_SIGNER_URL where a remote signer holds the keys',
    )
  const indexes = nodeIndexes(values)
  const hasPlace = template?.includes(NODE_INDEX) === true
  if (indexes.length > 1 && values.OBOL_ENR_KEY_FILE !== undefined)
    problems.push('OBOL_ENR_KEY_FILE is the key of one node, and OBOL_NODE_INDEXES names several: use tokens')
  if (new Set(indexes).size !== indexes.length) problems.push('OBOL_NODE_INDEXES names a node twice')
  if (hasPlace && indexes.length === 0)
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE needs OBOL_NODE_INDEX or OBOL_NODE_INDEXES')
  if (template !== undefined && !hasPlace && indexes.length > 1)
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE must contain {node_index} where OBOL_NODE_INDEXES names several nodes')
  if (template === undefined && indexes.length > 1 && !isRemote)
    problems.push(
      'OBOL_NODE_INDEXES needs OBOL_KEYSTORES_DIR_TEMPLATE, for example OBOL_KEYSTORES_DIR_TEMPLATE=node{node_index}/validator_keys',
    )
  return problems
}

/** What else is wrong where a remote signer holds the keys. */
function remoteProblems(values: Values): string[] {
  const problems: string[] = []
  if (values.OBOL_KEYSTORES_DIR !== undefined)
    problems.push('OBOL_KEYSTORES_DIR and REMOTE_SIGNER_URL are both set: keep the one that holds the key shares')
  if (values.OBOL_KEYSTORES_DIR_TEMPLATE !== undefined)
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE means nothing with REMOTE_SIGNER_URL: unset it')
  if (values.OBOL_CLUSTER_LOCK_FILE === undefined)
    problems.push(
      'OBOL_CLUSTER_LOCK_FILE is required with REMOTE_SIGNER_URL, for example OBOL_CLUSTER_LOCK_FILE=./.charon/cluster-lock.json',
    )
  return problems
}

/** Where the keys of each node are; none where a remote signer holds them. */
export function obolNodes(values: Values): ObolNodeSource[] {
  const { OBOL_KEYSTORES_DIR: dir, OBOL_KEYSTORES_DIR_TEMPLATE: template, OBOL_CLUSTER_LOCK_FILE: lock } = values
  if (dir === undefined && template === undefined) return []
  const indexes = nodeIndexes(values)
  const sources: readonly (number | undefined)[] = indexes.length > 0 ? indexes : [undefined]
  return sources.map((index) => ({
    keystoresDir: resolve(dir ?? '', template?.replaceAll(NODE_INDEX, String(index)) ?? ''),
    lockFile: lock === undefined ? undefined : resolve(lock),
    nodeIndex: index,
  }))
}

/** Whose keys count among those of a remote signer; undefined without a lock. */
export function obolKeys(values: Values): ObolKeys | undefined {
  const { OBOL_CLUSTER_LOCK_FILE: lock } = values
  if (lock === undefined) return undefined
  return { lockFile: resolve(lock), nodeIndexes: nodeIndexes(values) }
}
