"""The command line as a user meets it: exit codes, one sentence, no traceback."""

import json
import os
import subprocess
import sys

import pytest

from cliff_ros import __version__, cli
from cliff_ros.commands import COMMANDS


def cliff(*arguments):
    return subprocess.run([sys.executable, '-m', 'cliff_ros.cli', *arguments], capture_output=True, text=True)


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        'import sys; from cliff_ros import cli\n'
        "try: cli.main(['--help'])\n"
        "finally: print('heavy', {'numpy', 'cv2', 'rclpy', 'torch', 'onnxruntime'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0
    assert all(name in result.stdout for name in COMMANDS)
    assert 'heavy set()' in result.stdout


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_explains_itself(command):
    result = cliff(command, '--help')
    assert result.returncode == 0 and COMMANDS[command].split()[-1] in ' '.join(result.stdout.split())


def test_version():
    assert cliff('--version').stdout.strip() == f'cliff_ros {__version__}'


def test_without_a_command_the_help_is_shown():
    result = cliff()
    assert result.returncode == 2 and 'COMMAND' in result.stdout


@pytest.mark.parametrize(
    'arguments', [['nonsense'], ['video'], ['video', 'x', '--engine', 'abacus'], ['video', 'x', '--max-frames', 'many']]
)
def test_wrong_usage(arguments):
    result = cliff(*arguments)
    assert result.returncode == 2 and 'Traceback' not in result.stderr


def test_input_that_is_not_there_is_one_sentence():
    result = cliff('video', 'absent.mp4')
    assert result.returncode == 2
    assert result.stderr.strip().startswith("cliff video: There is no 'absent.mp4'")
    assert len(result.stderr.strip().splitlines()) == 1


def test_debug_shows_where():
    result = cliff('--debug', 'video', 'absent.mp4')
    assert result.returncode != 0 and 'Traceback' in result.stderr


def test_an_unexpected_error_is_told_in_one_line(monkeypatch, capsys):
    from cliff_ros.commands import doctor

    monkeypatch.setattr(doctor, 'run', lambda args: 1 / 0)
    assert cli.main(['doctor']) == 1
    assert capsys.readouterr().err.startswith('cliff doctor: ZeroDivisionError: division by zero')


def test_doctor_names_what_is_broken_and_what_to_do(tmp_path, capsys):
    report = tmp_path / 'deep' / 'doctor.json'
    assert cli.main(['doctor', '--body', str(tmp_path / 'absent.npz'), '--report', str(report)]) == 1
    findings = {finding['name']: finding for finding in json.loads(report.read_text())}
    body = findings[f'body {tmp_path / "absent.npz"}']
    assert body['status'] == 'broken' and 'absent.npz' in body['advice']
    assert findings['numpy']['status'] == 'ok'
    assert 'broken: ' in capsys.readouterr().out.splitlines()[-1]


def findings_of(report, *arguments) -> tuple[int, dict]:
    code = cli.main(['doctor', *map(str, arguments), '--report', str(report)])
    return code, {finding['name']: finding for finding in json.loads(report.read_text())}


def test_doctor_verifies_a_body_and_says_that_the_network_has_another(tmp_path):
    import numpy as np

    from cliff_ros import assets
    from cliff_ros.body.files import read_body, save_npz

    arrays = {key: value for key, value in read_body(assets.BODY).items() if key != 'licence'}
    body = tmp_path / 'SMPL_NEUTRAL.npz'
    save_npz(body, arrays | {'J_regressor_h36m': np.full((17, 6890), 1 / 6890)})
    code, findings = findings_of(tmp_path / 'doctor.json', '--body', body)
    file, pair = findings[f'body {body}'], findings['network and body']
    assert file['status'] == 'ok' and findings['network embedded']['status'] == 'ok'
    for words in ('6890 vertices', '10 betas', 'H36M regressor', 'non-commercial', 'sha256'):
        assert words in file['detail']
    assert code == 1 and pair['status'] == 'broken' and f'--body {body}' in pair['advice']
    assert findings['auto']['detail'].startswith('onnx:')

    damaged = tmp_path / 'damaged.npz'
    damaged.write_bytes(body.read_bytes()[:5000])
    code, findings = findings_of(tmp_path / 'doctor.json', '--body', damaged)
    assert code == 1 and 'damaged' in findings[f'body {damaged}']['advice']
    assert 'network and body' not in findings and findings['auto']['status'] == 'ok'


def test_doctor_verifies_a_checkpoint_and_gives_the_command_that_makes_a_graph(tmp_path):
    torch = pytest.importorskip('torch')

    from cliff_ros.cliff.checkpoints import write_model
    from cliff_ros.cliff.network import build

    official, bedlam = tmp_path / 'cliff.pt', tmp_path / 'bedlam.safetensors'
    network = build('official', 'resnet50')
    torch.save(
        {'model': {f'module.{key.removeprefix("regressor.")}': value for key, value in network.state_dict().items()}},
        official,
    )
    write_model(build('bedlam', 'hrnet_w48_pose', 'smplx'), bedlam)
    report = tmp_path / 'doctor.json'
    code, findings = findings_of(report, '--model', official)
    detail, engine = findings[f'network {official}']['detail'], findings['auto']
    for words in (
        'PyTorch checkpoint',
        'official dialect',
        'cliff_resnet50 for smpl,',
        '27.0 M',
        '256x192',
        'code MIT',
        'sha256',
    ):
        assert words in detail
    assert code == 0 and engine['status'] == 'absent'
    assert engine['advice'] == f'cliff export {official} cliff.onnx --body embedded'

    code, findings = findings_of(report, '--model', bedlam)
    assert 'non-commercial' in findings[f'network {bedlam}']['detail']
    assert findings['auto']['advice'].endswith('--body SMPLX_BODY.npz')

    torch.save({'model': {'fc1.weight': torch.zeros(3)}}, official)
    code, findings = findings_of(report, '--model', official)
    file = findings[f'network {official}']
    assert code == 1 and file['status'] == 'broken' and 'nearest' in file['advice'] and 'auto' not in findings


def test_doctor_finds_the_default_in_order():
    result = cliff('doctor')
    assert result.returncode == 0, result.stdout
    assert 'All that the default needs works.' in result.stdout


@pytest.mark.parametrize('options, mode', [((), 0o600), (('--readable',), 0o644)])
def test_what_shows_people_is_for_the_user_alone_unless_asked_for(tmp_path, options, mode):
    before = os.umask(0o022)
    try:
        code = cli.main(
            [
                'video',
                'synthetic:1',
                '--max-frames',
                '1',
                '--output',
                str(tmp_path / 'out'),
                '--report',
                str(tmp_path / 'out' / 'report.json'),
                *options,
            ]
        )
        assert os.umask(0o022) == 0o022  # put back
    finally:
        os.umask(before)
    files = sorted((tmp_path / 'out').iterdir())
    assert code == 0 and len(files) >= 4
    assert {file.name: file.stat().st_mode & 0o777 for file in files} == {file.name: mode for file in files}
    assert (tmp_path / 'out').stat().st_mode & 0o777 == (0o700 if mode == 0o600 else 0o755)
