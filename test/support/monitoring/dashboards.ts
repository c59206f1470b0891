/** The dashboards for Grafana, and the copies of rules and dashboards in the charts: `npm run docs` writes them, a test compares. */

import { readFileSync } from 'node:fs'
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { dashboard, graph, HERE, number, states } from './panels.ts'

const ROOT = new URL('../../../', import.meta.url)
export const RULES = 'deploy/prometheus/rules.yml'

/** Change a second, and what a histogram's slowest hundredth takes. */
const rate = (metric: string, by: string, filter = HERE) =>
  `sum by (${by}) (rate(${metric}{${filter}}[$__rate_interval]))`
const slowest = (metric: string, by = '') =>
  `histogram_quantile(0.99, sum by (le${by && `, ${by}`}) (rate(${metric}_bucket{${HERE}}[$__rate_interval])))`

const RELAYER: Dashboard = dashboard({ title: 'dvt-relayer', uid: 'dvt-relayer', of: 'dvt_relayer_build_info' }, [
  [
    'Does it work?',
    [
      states({ title: 'What it leans on', description: 'As /ready says; what is not used is ok' }, [
        `min by (dependency) (dvt_relayer_dependency_up{${HERE}})`,
        '{{dependency}}',
      ]),
      number(
        { title: 'Workers', description: 'Processes that finish what the nodes have signed' },
        [`max(dvt_relayer_workers{${HERE}})`, 'workers'],
        { below: 1 },
      ),
      number(
        {
          title: 'Oldest waiting',
          description: 'Age of the oldest exit or deposit that is still collected',
          unit: 's',
        },
        [`max by (kind) (dvt_relayer_oldest_waiting_seconds{${HERE}})`, '{{kind}}'],
        { from: 1800 },
      ),
      number(
        {
          title: 'Oracle set checked',
          description: 'Since the config in force was last seen to be the newest',
          unit: 's',
        },
        [`time() - max(dvt_relayer_oracle_set_checked_timestamp_seconds{${HERE}})`, 'ago'],
        { from: 900 },
      ),
      graph({ title: 'Exits', description: 'Live exits, by state' }, [
        [`max by (state) (dvt_relayer_exits{${HERE}})`, '{{state}}'],
      ]),
      graph({ title: 'Deposits', description: 'Live deposits, by state' }, [
        [`max by (state) (dvt_relayer_deposits{${HERE}})`, '{{state}}'],
      ]),
      graph({ title: 'Queue', description: 'Jobs that wait and run' }, [
        [`max by (state) (dvt_relayer_queue_jobs{${HERE}})`, '{{state}}'],
      ]),
    ],
  ],
  [
    'Nodes',
    [
      graph(
        { title: 'Last seen', description: 'Since a node of the share index last asked or handed in', unit: 's' },
        [[`min by (share_index) (dvt_relayer_node_last_seen_seconds{${HERE}})`, 'share index {{share_index}}']],
        12,
      ),
      graph(
        { title: 'Signatures that are right', description: 'Verified, a second, by share index' },
        [
          [
            `max by (share_index) (rate(dvt_relayer_share_signatures_total{${HERE}, outcome="verified"}[$__rate_interval]))`,
            'share index {{share_index}}',
          ],
        ],
        12,
      ),
      graph(
        { title: 'Signatures that are wrong', description: 'Rejected within an hour, by share index' },
        [
          [
            `max by (share_index) (increase(dvt_relayer_share_signatures_total{${HERE}, outcome="rejected"}[1h]))`,
            'share index {{share_index}}',
          ],
        ],
        12,
      ),
      graph(
        { title: 'Partial signatures', description: 'A second, by what became of them' },
        [[rate('dvt_relayer_partial_signatures_total', 'outcome'), '{{outcome}}']],
        12,
      ),
    ],
  ],
  [
    'Vaults',
    [
      graph({ title: 'Keys left', description: 'Keys that a vault may still register' }, [
        [`min by (vault) (dvt_relayer_vault_keys_left{${HERE}})`, '{{vault}}'],
      ]),
      graph({ title: 'Moved within 24 hours', description: 'Gwei, as the daily limit counts them' }, [
        [`max by (vault) (dvt_relayer_manager_moved_gwei{${HERE}})`, '{{vault}}'],
        [`max(dvt_relayer_manager_limit_gwei{${HERE}} > 0)`, 'limit'],
      ]),
      graph({ title: 'Signatures of the manager', description: 'Within an hour, by action' }, [
        [`sum by (action) (increase(dvt_relayer_manager_signatures_total{${HERE}}[1h]))`, '{{action}}'],
      ]),
      graph({ title: 'Registered validators', description: 'On the finalized chain, by state' }, [
        [`max by (state) (dvt_relayer_registered_validators{${HERE}})`, '{{state}}'],
      ]),
      graph({ title: 'Outdated validators', description: 'Their shares on chain are of earlier oracles' }, [
        [`max by (vault) (dvt_relayer_outdated_validators{${HERE}})`, '{{vault}}'],
      ]),
      graph({ title: 'Until exits by force', description: 'Time left to renew exit signatures', unit: 's' }, [
        [`min by (vault) (dvt_relayer_force_exit_seconds{${HERE}})`, '{{vault}}'],
      ]),
    ],
  ],
  [
    'Oracles',
    [
      graph({ title: 'Oracle configs', description: 'Seen within a day, by what became of them' }, [
        [`max by (outcome) (increase(dvt_relayer_oracle_sets_total{${HERE}}[1d]))`, '{{outcome}}'],
      ]),
      graph({ title: 'Oldest open update', description: 'Of exit signatures; 0 without', unit: 's' }, [
        [`max(dvt_relayer_rotation_open_seconds{${HERE}})`, 'open'],
      ]),
      graph({ title: 'Updates and approvals', description: 'Within a day' }, [
        [`sum by (outcome) (increase(dvt_relayer_rotations_total{${HERE}}[1d]))`, 'update {{outcome}}'],
        [`sum by (outcome) (increase(dvt_relayer_rotation_approvals_total{${HERE}}[1d]))`, 'approval {{outcome}}'],
      ]),
    ],
  ],
  [
    'Requests',
    [
      graph({ title: 'Answers', description: 'A second, by class of status', unit: 'reqps' }, [
        [rate('dvt_relayer_http_requests_total', 'status'), '{{status}}'],
      ]),
      graph({ title: 'Slowest hundredth', description: 'By route; long polls do not count', unit: 's' }, [
        [slowest('dvt_relayer_http_request_seconds', 'route'), '{{route}}'],
      ]),
      graph({ title: 'Refused', description: 'For token or signature, within five minutes' }, [
        [`sum by (reason) (increase(dvt_relayer_auth_refused_total{${HERE}}[5m]))`, '{{reason}}'],
      ]),
      graph({ title: 'Kept from more', description: 'Callers at their bounds, a second' }, [
        [rate('dvt_relayer_callers_bounded_total', 'of'), '{{of}}'],
      ]),
      graph({ title: 'Held for callers', description: 'Bodies, and answers not taken yet', unit: 'bytes' }, [
        [`max by (of) (dvt_relayer_held_bytes{${HERE}})`, '{{of}}'],
      ]),
      graph({ title: 'Nodes and gateways that fail', description: 'Requests a second', unit: 'reqps' }, [
        [rate('dvt_relayer_outbound_requests_total', 'target', `${HERE}, outcome="failed"`), '{{target}}'],
      ]),
    ],
  ],
  [
    'Work and versions',
    [
      graph({ title: 'Finishing a batch', description: 'The slowest hundredth', unit: 's' }, [
        [slowest('dvt_relayer_finish_seconds'), '99 %'],
      ]),
      graph({ title: 'Processes', description: 'Of the relayer, by role and version' }, [
        [`max by (role, version) (dvt_relayer_processes{${HERE}})`, '{{role}} {{version}}'],
      ]),
      graph({ title: 'Sidecars', description: 'By the version they name' }, [
        [`max by (version) (dvt_relayer_sidecars{${HERE}})`, '{{version}}'],
      ]),
    ],
  ],
])

const SIDECAR: Dashboard = dashboard({ title: 'dvt-sidecar', uid: 'dvt-sidecar', of: 'dvt_sidecar_build_info' }, [
  [
    'Do they work?',
    [
      states({ title: 'What they lean on', description: 'As /ready says; what is not used is ok' }, [
        `min by (instance, check) (dvt_sidecar_up{${HERE}})`,
        '{{instance}} {{check}}',
      ]),
      graph(
        { title: 'Key shares', description: 'That a sidecar can sign with' },
        [[`dvt_sidecar_keys{${HERE}}`, '{{instance}}']],
        6,
      ),
      graph(
        { title: 'Journal', description: 'Validators that are bound to a vault' },
        [[`dvt_sidecar_journal_keys{${HERE}}`, '{{instance}}']],
        6,
      ),
      graph({ title: 'Exits that wait', description: 'For a signature of this sidecar' }, [
        [`dvt_sidecar_exits_open{${HERE}}`, '{{instance}}'],
      ]),
      graph({ title: 'Validators that wait', description: 'For the signatures of this sidecar' }, [
        [`dvt_sidecar_validators_open{${HERE}}`, '{{instance}}'],
      ]),
      graph({ title: 'Versions', description: 'Sidecars by version' }, [
        [`count by (version) (dvt_sidecar_build_info{${HERE}})`, '{{version}}'],
      ]),
    ],
  ],
  [
    'Signing',
    [
      graph({ title: 'Made', description: 'Partial signatures a second, by kind' }, [
        [rate('dvt_sidecar_signatures_total', 'instance, kind'), '{{instance}} {{kind}}'],
      ]),
      graph({ title: 'Taken by the relayer', description: 'A second, repeats included' }, [
        [rate('dvt_sidecar_signatures_posted_total', 'instance, kind'), '{{instance}} {{kind}}'],
      ]),
      graph({ title: 'Rejected by the relayer', description: 'Within an hour' }, [
        [
          `sum by (instance, kind) (increase(dvt_sidecar_signatures_rejected_total{${HERE}}[1h]))`,
          '{{instance}} {{kind}}',
        ],
      ]),
      graph({ title: 'Refused', description: 'Key shares of which something is asked for and refused, by reason' }, [
        [`max by (instance, reason) (dvt_sidecar_refused{${HERE}}) > 0`, '{{instance}} {{reason}}'],
      ]),
      graph({ title: 'A round of signing', description: 'The slowest hundredth', unit: 's' }, [
        [slowest('dvt_sidecar_sign_seconds', 'instance'), '{{instance}}'],
      ]),
      graph({ title: 'Items left out', description: 'Of the lists: malformed, or double' }, [
        [rate('dvt_sidecar_list_items_dropped_total', 'instance'), '{{instance}}'],
      ]),
    ],
  ],
  [
    'Relayer, signers, SSV',
    [
      graph({ title: 'Requests to the relayer', description: 'A second, by outcome', unit: 'reqps' }, [
        [rate('dvt_sidecar_relayer_requests_total', 'instance, outcome'), '{{instance}} {{outcome}}'],
      ]),
      graph({ title: 'Answers of the relayer', description: 'The slowest hundredth; lists wait for news', unit: 's' }, [
        [slowest('dvt_sidecar_relayer_request_seconds', 'request'), '{{request}}'],
      ]),
      graph({ title: 'Remote signers', description: 'Requests a second, by outcome', unit: 'reqps' }, [
        [rate('dvt_sidecar_remote_signer_requests_total', 'instance, outcome'), '{{instance}} {{outcome}}'],
      ]),
      graph({ title: 'Answers of remote signers', description: 'The slowest hundredth', unit: 's' }, [
        [slowest('dvt_sidecar_remote_signer_seconds', 'instance'), '{{instance}}'],
      ]),
      graph({ title: 'SSV shares that do not decrypt', description: 'With the key of the operator' }, [
        [`dvt_sidecar_shares_undecipherable{${HERE}}`, '{{instance}}'],
      ]),
      graph({ title: 'SSV events skipped', description: 'By what is wrong with them' }, [
        [`sum by (instance, reason) (dvt_sidecar_ssv_events_skipped{${HERE}}) > 0`, '{{instance}} {{reason}}'],
      ]),
    ],
  ],
])

/** By the app that they are of. */
export const DASHBOARDS = { relayer: RELAYER, sidecar: SIDECAR } as const

/** The rules of one app: its group of the file of all. @throws where there is none */
function rulesOf(app: keyof typeof DASHBOARDS, rules: string): string {
  const groups = rules.slice(rules.indexOf('\ngroups:\n') + '\ngroups:\n'.length).split(/\n(?= {2}- name: )/)
  const group = groups.find((text) => text.startsWith(`  - name: dvt-${app}\n`))
  if (group === undefined) throw new Error(`${RULES} has no group dvt-${app}`)
  return `groups:\n${group.trimEnd()}\n`
}

/** Every file that is written from these, by its path. */
export function renderMonitoring(): Readonly<Record<string, string>> {
  const rules = readFileSync(new URL(RULES, ROOT), 'utf8')
  return Object.fromEntries(
    (['relayer', 'sidecar'] as const).flatMap((app) => {
      const json = `${JSON.stringify(DASHBOARDS[app], undefined, 2)}\n`
      return [
        [`deploy/grafana/${app}.json`, json],
        [`deploy/helm/${app}/files/dashboard.json`, json],
        [`deploy/helm/${app}/files/rules.yaml`, rulesOf(app, rules)],
      ]
    }),
  )
}
