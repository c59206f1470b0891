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
      description: "path of one node's keystores below OBOL_KEYSTORES_DIR, with {node_index} in it",
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
    list(nodeIndex('several nodes in one process, comma separated, for tests', '0,1,2,3')),
    [],
    '',
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

/** What is wrong between settings of an Obol node that are each fine alone. `isRemote`: a remote signer holds its keys. */
export function obolProblems(values: Values, isRemote: boolean): string[] {
  const problems = isRemote ? remoteProblems(values) : []
  if (!isRemote && values.OBOL_KEYSTORES_DIR === undefined)
    problems.push(
      'OBOL_KEYSTORES_DIR is required, for example OBOL_KEYSTORES_DIR=./.charon/validator_keys, or REMOTE_SIGNER_URL where a remote signer holds the keys',
    )
  const template = values.OBOL_KEYSTORES_DIR_TEMPLATE
  const indexes = values.OBOL_NODE_INDEXES
  if (values.OBOL_NODE_INDEX !== undefined && indexes.length > 0)
    problems.push('OBOL_NODE_INDEX and OBOL_NODE_INDEXES are both set: keep one')
  if (new Set(indexes).size !== indexes.length) problems.push('OBOL_NODE_INDEXES names a node twice')
  if (template !== undefined && !template.includes('{node_index}'))
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE must contain {node_index}')
  if (template !== undefined && values.OBOL_NODE_INDEX === undefined && indexes.length === 0)
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE needs OBOL_NODE_INDEX or OBOL_NODE_INDEXES')
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
  if (dir === undefined) return []
  const indexes = values.OBOL_NODE_INDEXES.length > 0 ? values.OBOL_NODE_INDEXES : [values.OBOL_NODE_INDEX]
  return indexes.map((index) => ({
    keystoresDir:
      template === undefined ? resolve(dir) : resolve(dir, template.replaceAll('{node_index}', String(index))),
    lockFile: lock === undefined ? undefined : resolve(lock),
    nodeIndex: index,
  }))
}

/** Whose keys count among those of a remote signer; undefined without a lock. */
export function obolKeys(values: Values): ObolKeys | undefined {
  const { OBOL_CLUSTER_LOCK_FILE: lock, OBOL_NODE_INDEX: index } = values
  if (lock === undefined) return undefined
  return { lockFile: resolve(lock), nodeIndexes: index === undefined ? values.OBOL_NODE_INDEXES : [index] }
}
