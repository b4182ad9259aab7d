class Memwatch < Formula
  include Language::Python::Virtualenv

  desc "Memory of a whole job: every process it starts, totals over time, peaks"
  homepage "https://pypi.org/project/memwatch/"
  url "@URL@"
  sha256 "@SHA256@"
  license "MIT"

  depends_on "python@3.14"

  uses_from_macos "libffi"

  # packaging/fill.py --resources asks PyPI for the newest.
  resource "cffi" do
    url "https://files.pythonhosted.org/packages/source/c/cffi/cffi-2.1.1.tar.gz"
    sha256 "dd31f52ea1086513bb9df30f8fcee9b8918323ae067a3d5b78bc826a000712be"
  end

  resource "click" do
    url "https://files.pythonhosted.org/packages/source/c/click/click-8.5.1.tar.gz"
    sha256 "9bbfada76703fd1d784b83eea012e3e8c6a001a876543ef104fa56aaaeb072b4"
  end

  resource "pycparser" do
    url "https://files.pythonhosted.org/packages/source/p/pycparser/pycparser-3.12.tar.gz"
    sha256 "f03387877eab82ce01bbdfd0ba7252ee55a90b1c708d5129e2ce915475cf1db6"
  end

  def install
    virtualenv_install_with_resources(link_manpages: true)
    generate_completions_from_executable(bin/"memwatch", shells:                 [:bash, :zsh, :fish],
                                                         shell_parameter_format: :click)
  end

  test do
    assert_match "memwatch #{version}", shell_output("#{bin}/memwatch --version")
    result = JSON.parse(shell_output("#{bin}/memwatch run --json -- true"))
    assert_equal 0, result["exit_code"]
    assert_equal ["true"], result["command"]
  end
end
