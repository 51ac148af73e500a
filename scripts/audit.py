"""`make audit`: the installed packages against the database of known faults (OSV), by pip-audit.

    python scripts/audit.py PIP_AUDIT PYTHON REPORT.json [--osv-url URL]

Needs that database: its service, or a mirror of it with the same interface. Exit status: 0 nothing is known, 1
something is, 2 the database cannot be reached or the check failed, and one sentence says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

UNREACHABLE = ('ConnectionError', 'ConnectTimeout', 'ReadTimeout', 'ProxyError', 'SSLError', 'ServiceError')


def site_packages(python: str) -> str:
    """Where that Python installs packages."""
    code = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    return subprocess.run([python, '-c', code], check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('pip_audit')
    parser.add_argument('python')
    parser.add_argument('report', type=Path)
    parser.add_argument('--osv-url', default='', help='of a mirror')
    args = parser.parse_args()
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(args.pip_audit, '--path', site_packages(args.python), '--vulnerability-service', 'osv'),
            *(('--osv-url', args.osv_url) if args.osv_url else ()),
            *('--progress-spinner', 'off', '--timeout', '20', '--format', 'json', '--output', str(args.report)),
        ],
        capture_output=True,
        text=True,
    )
    if not args.report.exists() or not args.report.stat().st_size:
        lines = done.stderr.strip().splitlines() or [f'exit status {done.returncode}']
        if any(word in done.stderr for word in UNREACHABLE):
            print(
                'make audit: the database of known faults cannot be reached, so nothing was checked: run it where '
                'there is a network, or name a mirror of OSV (make audit OSV_URL=...). ' + lines[-1][:300],
                file=sys.stderr,
            )
        else:
            print(f'make audit: pip-audit failed: {lines[-1][:300]}', file=sys.stderr)
        return 2
    packages = json.loads(args.report.read_text())['dependencies']
    known = [(one['name'], one['version'], fault) for one in packages for fault in one.get('vulns', ())]
    for name, version, fault in known:
        print(f'{name} {version}: {fault["id"]}, mended in {", ".join(fault["fix_versions"]) or "no version yet"}')
    print(f'{len(packages)} packages, {len(known)} known faults; {args.report}')
    return int(bool(known))


if __name__ == '__main__':
    sys.exit(main())
